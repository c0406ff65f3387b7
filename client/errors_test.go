package client_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/inkan-project/inkan/client"
	"github.com/inkan-project/inkan/client/internal/clientfake"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// sentinels pairs each reason with its sentinel, by name.
func sentinels() map[string]error {
	return map[string]error{
		"UNLOCK_CODE_USED_UP": client.ErrUnlockCodeUsedUp, "UNLOCK_CODE_KNOWN_WRONG": client.ErrUnlockCodeKnownWrong, "UNLOCK_UNKNOWN": client.ErrUnlockUnknown,
		"PIN_KNOWN_WRONG": client.ErrPINKnownWrong, "CARD_HELD": client.ErrCardHeld, "CARD_DEAD": client.ErrCardDead,
		"REINSERT_NEEDED": client.ErrReinsertNeeded, "TRY_LATER": client.ErrTryLater, "NEW_PIN_REFUSED": client.ErrNewPINRefused,
		"UNLOCK_CODE_WRONG": client.ErrUnlockCodeWrong, "CHANGE_UNKNOWN": client.ErrChangeUnknown, "CONFIRMATION_REFUSED": client.ErrConfirmationRefused,
		"UNLOCK_CODE_MALFORMED": client.ErrUnlockCodeMalformed, "NEW_PINS_DIFFER": client.ErrNewPINsDiffer, "CARD_STOPPED_HERE": client.ErrCardStoppedHere,
		"CARD_NOT_REGISTERED": client.ErrCardNotRegistered, "CARD_NOT_STOPPED": client.ErrCardNotStopped, "CARD_NOT_HELD": client.ErrCardNotHeld,
		"STATE_COPIED": client.ErrStateCopied, "DEFAULT_UNLOCK_CODE": client.ErrDefaultUnlockCode, "USED_ELSEWHERE": client.ErrUsedElsewhere,
		"TOKEN_AMBIGUOUS": client.ErrTokenAmbiguous, "MECHANISM_MISSING": client.ErrMechanismMissing, "MODULE_FAULT": client.ErrModuleFault, "MODULE_UNAVAILABLE": client.ErrModuleUnavailable,
		"PIN_WRONG": client.ErrPINWrong, "CARD_LOCKED": client.ErrCardLocked, "PIN_MALFORMED": client.ErrPINMalformed,
		"PIN_NO_VERDICT": client.ErrPINNoVerdict, "PROMPT_CANCELLED": client.ErrPromptCancelled,
		"PROMPT_TIMEOUT": client.ErrPromptTimeout, "NO_PIN_AGENT": client.ErrNoPINAgent,
		"PIN_SOURCE_REFUSED": client.ErrPINSourceRefused, "CARD_NOT_FOUND": client.ErrCardNotFound,
		"KEY_NOT_FOUND": client.ErrKeyNotFound, "CARD_REMOVED": client.ErrCardRemoved, "CARD_CHANGED": client.ErrCardChanged,
		"CARD_SILENT": client.ErrCardSilent, "CARD_FAULT": client.ErrCardFault,
		"SIGNATURE_CHECK_FAILED":    client.ErrSignatureCheckFailed,
		"CERTIFICATE_NOT_YET_VALID": client.ErrCertificateNotYetValid, "CERTIFICATE_EXPIRED": client.ErrCertificateExpired,
		"CERTIFICATE_SUSPENDED": client.ErrCertificateSuspended, "CERTIFICATE_REVOKED": client.ErrCertificateRevoked,
		"CERTIFICATE_EXPIRING": client.ErrCertificateExpiring, "REVOCATION_UNKNOWN": client.ErrRevocationUnknown, "TRIES_LOW": client.ErrTriesLow, "PIN_MEMORY_UNAVAILABLE": client.ErrPINMemoryUnavailable, "READERS_STUCK": client.ErrReadersStuck, "PIN_EXPIRED": client.ErrPINExpired, "PIN_NOT_SET": client.ErrPINNotSet, "KEYPAD_NEEDED": client.ErrKeypadNeeded, "JOURNAL_SLOTS_LOST": client.ErrJournalSlotsLost,
		"KEY_DECRYPTS_ONLY": client.ErrKeyDecryptsOnly, "NO_KEY": client.ErrNoKey, "CARD_UNRESPONSIVE": client.ErrCardUnresponsive,
		"CARD_KEEPS_LOGIN": client.ErrCardKeepsLogin, "CARD_RESET": client.ErrCardReset, "PIN_AGENT_CHANGED": client.ErrPINAgentChanged,
		"NEW_PIN_REFUSED_BY_CARD": client.ErrNewPINRefusedByCard, "PIN_AGENT_LOST": client.ErrPINAgentLost,
		"METHOD_UNKNOWN": client.ErrMethodUnknown, "ENVIRONMENT_REFUSED": client.ErrEnvironmentRefused,
		"NO_CERTIFICATE": client.ErrNoCertificate, "READER_FAULT": client.ErrReaderFault,
		"PCSC_UNAVAILABLE": client.ErrPCSCUnavailable, "NO_READER": client.ErrNoReader, "NO_CARD": client.ErrNoCard,
		"CARD_DUPLICATE": client.ErrCardDuplicate, "VIRTUAL_REFUSED": client.ErrVirtualRefused, "PCSC_DENIED": client.ErrPCSCDenied,
		"CARD_UNKNOWN": client.ErrCardUnknown, "READER_IN_USE": client.ErrReaderInUse,
		"REQUEST_INVALID": client.ErrRequestInvalid, "DIGEST_LENGTH": client.ErrDigestLength,
		"ALGORITHM_REFUSED": client.ErrAlgorithmRefused, "ALGORITHM_MISMATCH": client.ErrAlgorithmMismatch,
		"MESSAGE_TOO_LARGE": client.ErrMessageTooLarge, "CALLER_NOT_ALLOWED": client.ErrCallerNotAllowed,
		"TOO_MANY_CALLS": client.ErrTooManyCalls, "SOCKET_NOT_TRUSTED": client.ErrSocketNotTrusted, "SERVICE_TOO_OLD": client.ErrServiceTooOld,
		"CALLER_GONE": client.ErrCallerGone, "AUDIT_UNAVAILABLE": client.ErrAuditUnavailable,
		"JOURNAL_UNAVAILABLE": client.ErrJournalUnavailable, "JOURNAL_DAMAGED": client.ErrJournalDamaged,
		"STATE_IN_USE": client.ErrStateInUse, "STATE_NOT_WRITABLE": client.ErrStateNotWritable,
		"CONFIG_INVALID": client.ErrConfigInvalid, "SHUTTING_DOWN": client.ErrShuttingDown, "INTERNAL": client.ErrInternal,
		"DATABASE_DAMAGED": client.ErrDatabaseDamaged, "DATABASE_NEWER": client.ErrDatabaseNewer, "SERVICE_UNREACHABLE": client.ErrServiceUnreachable,
		"OUTCOME_UNKNOWN": client.ErrOutcomeUnknown, "REQUEST_ID_REUSED": client.ErrRequestIDReused,
		"REQUEST_NOT_KNOWN": client.ErrRequestNotKnown, "REQUEST_IDS_USED_UP": client.ErrRequestIDsUsedUp,
		"CALL_ENDED": client.ErrCallEnded, "SOCKET_IN_USE": client.ErrSocketInUse, "SOCKET_NOT_USABLE": client.ErrSocketNotUsable,
	}
}

func TestEveryReasonCrossesGRPCWhole(t *testing.T) {
	fake := startFake(t)
	byName := sentinels()
	for _, language := range []string{"ja", "en"} {
		c := dial(t, fake, client.Options{Language: language})
		for number, name := range inkanpb.Reason_name {
			if number == 0 { // never sent
				continue
			}
			name = strings.TrimPrefix(name, "REASON_")
			t.Run(language+" "+name, func(t *testing.T) {
				reason := inkanpb.Reason(number)
				fake.FailNext("ListKeys", clientfake.StatusError(reason, "tries_left", "9", "detail", "細部", "card", "c1", "path", "/p",
					"algorithm", "A", "key", "k1", "key_type", "P-256", "got", "20", "want", "32", "uid", "7", "name", "N", "method", "/m", "status_word", "6A80", "readers", "r", "seconds", "5"))
				_, err := c.Keys(t.Context())
				e, ok := errors.AsType[*client.Error](err)
				if !ok {
					t.Fatalf("got %T (%v), want *client.Error", err, err)
				}
				if want := fmt.Sprintf("INK-%04d", number); e.Reason != reason || e.Code != want {
					t.Errorf("got %v %s, want %v %s", e.Reason, e.Code, reason, want)
				}
				if e.TriesLeft != 9 || !e.TriesKnown || e.Metadata["detail"] != "細部" {
					t.Errorf("got tries %d %v and detail %q, want 9 true and 細部", e.TriesLeft, e.TriesKnown, e.Metadata["detail"])
				}
				local := client.NewError(reason, language, e.Metadata)
				if e.Message == "" || e.Next == "" || e.Message != local.Message || e.Next != local.Next {
					t.Errorf("got %q, %q; the catalogue says %q, %q", e.Message, e.Next, local.Message, local.Next)
				}
				if said, ok := client.Explain(name, language); !ok || said.Code != e.Code || e.Why != said.Why || e.Who != said.Who || e.Why == "" || e.Who == "" {
					t.Errorf("got why %q and who %q; the catalogue says %+v", e.Why, e.Who, said)
				}
				if strings.ContainsAny(e.Message+e.Next, "{}\n") {
					t.Errorf("a placeholder or line break is left in %q, %q", e.Message, e.Next)
				}
				for other, sentinel := range byName {
					if got, want := errors.Is(err, sentinel), other == name; got != want {
						t.Errorf("errors.Is(%s) = %v, want %v", other, got, want)
					}
				}
				if byName[name] == nil {
					t.Fatal("there is no sentinel for this reason")
				}
				if warning := number >= 6000; (status.Code(err) == codes.Unknown) != warning {
					t.Errorf("got gRPC code %v, want that of the catalogue", status.Code(err))
				}
			})
		}
	}
}

func TestErrorsWithoutInkanDetailsStillSayWhatToDo(t *testing.T) {
	fake := startFake(t)
	c := dial(t, fake, client.Options{Language: "en"})
	for _, tc := range []struct {
		name string
		err  error
		want error
	}{
		{"a broken connection is unreachable", status.Error(codes.Unavailable, "eof"), client.ErrServiceUnreachable},
		{"a cancelled call has ended", status.Error(codes.Canceled, "x"), client.ErrCallEnded},
		{"a cancelled call is context.Canceled", status.Error(codes.Canceled, "x"), context.Canceled},
		{"a late call is context.DeadlineExceeded", status.Error(codes.DeadlineExceeded, "x"), context.DeadlineExceeded},
		{"a large message is too large", status.Error(codes.ResourceExhausted, "x"), client.ErrMessageTooLarge},
		{"a bad request is invalid", status.Error(codes.InvalidArgument, "x"), client.ErrRequestInvalid},
		{"anything else is internal", errors.New("x"), client.ErrInternal},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fake.FailNext("ListKeys", tc.err)
			_, err := c.Keys(t.Context())
			e, ok := errors.AsType[*client.Error](err)
			if !ok || !errors.Is(err, tc.want) {
				t.Fatalf("got %v, want %v", err, tc.want)
			}
			if e.TriesKnown || e.Code == "" || e.Next == "" {
				t.Errorf("got %+v, want unknown tries, a code and a next step", e)
			}
		})
	}
}

func TestAReasonOfANewerInkandKeepsItsCodeAndTexts(t *testing.T) {
	fake := startFake(t)
	st := status.Convert(clientfake.StatusError(inkanpb.Reason_REASON_PIN_WRONG, "tries_left", "unknown", "code", "INK-1999"))
	p := st.Proto()
	for _, d := range p.GetDetails() {
		if strings.HasSuffix(d.GetTypeUrl(), "ErrorInfo") {
			d.Value = []byte(strings.Replace(string(d.GetValue()), "PIN_WRONG", "PIN_NOVEL", 1))
		}
	}
	fake.FailNext("ListKeys", status.ErrorProto(p))
	_, err := dial(t, fake, client.Options{Language: "ja"}).Keys(t.Context())
	e, ok := errors.AsType[*client.Error](err)
	if !ok || e.Reason != inkanpb.Reason_REASON_UNSPECIFIED || e.Code != "INK-1999" || e.TriesKnown {
		t.Fatalf("got %#v, want an unspecified reason, INK-1999 and unknown tries", err)
	}
	if !strings.Contains(e.Message, "暗証番号が違います") || errors.Is(err, client.ErrPINWrong) {
		t.Errorf("got %q, want inkand's own Japanese words and no known sentinel", e.Message)
	}
}

func TestDialSaysWhyInkandCannotBeReached(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	stale := filepath.Join(dir, "stale")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	_ = l.Close()
	for _, tc := range []struct{ name, path, language, want string }{
		{"no socket", filepath.Join(dir, "none"), "en", "there is no such socket"},
		{"no socket, in Japanese", filepath.Join(dir, "none"), "ja", "ソケットがありません"},
		{"nobody listens", stale, "en", "nobody listens there"},
		{"not a socket", plain, "en", "nobody listens there"},
		{"path too long", filepath.Join(dir, strings.Repeat("x", 200)), "en", "longer than 107 bytes"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := client.Dial(t.Context(), client.Options{Socket: tc.path, Language: tc.language})
			if !errors.Is(err, client.ErrServiceUnreachable) {
				t.Fatalf("got %v, %v; want ErrServiceUnreachable", c, err)
			}
			e, _ := errors.AsType[*client.Error](err)
			if !strings.Contains(e.Message, tc.want) || !strings.Contains(e.Message, tc.path) || e.Code != "INK-5011" {
				t.Errorf("got %q, want %q and the path", err, tc.want)
			}
		})
	}
}

func TestDialDoesNotTakeAnotherProgramForInkand(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte("220 mail.example ESMTP\r\n"))
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	if _, err := client.Dial(t.Context(), client.Options{Socket: path, Language: "en"}); !errors.Is(err, client.ErrServiceUnreachable) ||
		!strings.Contains(err.Error(), "not inkand") {
		t.Errorf("got %v, want that the program there is not inkand", err)
	}
}

func TestTheLastTryLeadsToTheUnlockCode(t *testing.T) {
	fake := startFake(t)
	for _, reason := range []inkanpb.Reason{inkanpb.Reason_REASON_PIN_WRONG, inkanpb.Reason_REASON_PIN_NO_VERDICT} {
		for _, tc := range []struct {
			language, tries string
			unlock          bool
		}{{"en", "0", true}, {"ja", "0", true}, {"en", "1", false}, {"ja", "unknown", false}} {
			fake.FailNext("ListKeys", clientfake.StatusError(reason, "tries_left", tc.tries))
			_, err := dial(t, fake, client.Options{Language: tc.language}).Keys(t.Context())
			e, ok := errors.AsType[*client.Error](err)
			if !ok {
				t.Fatalf("got %v, want *client.Error", err)
			}
			want := client.NewError(inkanpb.Reason_REASON_CARD_LOCKED, tc.language, nil).Next
			if _, in := e.In(tc.language); (e.Next == want) != tc.unlock || in != e.Next || e.Reason != reason {
				t.Errorf("%v with tries %s says %q, want the unlock code: %v", reason, tc.tries, e.Next, tc.unlock)
			}
		}
	}
}
