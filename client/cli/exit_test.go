package cli

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/inkan-project/inkan/client"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

func TestEveryReasonHasItsExitCode(t *testing.T) {
	want := map[exitCode]string{
		exitUnreachable: "SERVICE_UNREACHABLE SHUTTING_DOWN SOCKET_NOT_TRUSTED SERVICE_TOO_OLD",
		exitRefused:     "CALLER_NOT_ALLOWED CALLER_GONE PIN_SOURCE_REFUSED TOO_MANY_CALLS",
		exitPIN:         "PIN_WRONG PIN_MALFORMED PIN_KNOWN_WRONG NEW_PIN_REFUSED NEW_PINS_DIFFER UNLOCK_CODE_WRONG UNLOCK_CODE_MALFORMED UNLOCK_CODE_KNOWN_WRONG NEW_PIN_REFUSED_BY_CARD PIN_EXPIRED PIN_NOT_SET",
		exitLocked:      "CARD_LOCKED CARD_HELD CARD_DEAD UNLOCK_CODE_USED_UP CARD_STOPPED_HERE REINSERT_NEEDED TRY_LATER",
		exitNotFound:    "CARD_NOT_FOUND KEY_NOT_FOUND NO_CERTIFICATE CERTIFICATE_NOT_YET_VALID CERTIFICATE_EXPIRED CERTIFICATE_SUSPENDED CERTIFICATE_REVOKED KEY_DECRYPTS_ONLY NO_KEY CARD_NOT_REGISTERED",
		exitCard: "OUTCOME_UNKNOWN PIN_NO_VERDICT CHANGE_UNKNOWN UNLOCK_UNKNOWN CARD_REMOVED CARD_CHANGED CARD_SILENT CARD_FAULT SIGNATURE_CHECK_FAILED " +
			"READER_FAULT PCSC_UNAVAILABLE NO_READER NO_CARD CARD_UNKNOWN READER_IN_USE CARD_DUPLICATE VIRTUAL_REFUSED PCSC_DENIED CARD_UNRESPONSIVE CARD_KEEPS_LOGIN CARD_RESET KEYPAD_NEEDED TOKEN_AMBIGUOUS MODULE_FAULT MODULE_UNAVAILABLE",
		exitNoPIN: "PROMPT_CANCELLED PROMPT_TIMEOUT NO_PIN_AGENT CALL_ENDED CONFIRMATION_REFUSED PIN_AGENT_CHANGED PIN_AGENT_LOST",
		exitRequest: "REQUEST_INVALID DIGEST_LENGTH ALGORITHM_REFUSED ALGORITHM_MISMATCH MESSAGE_TOO_LARGE CARD_NOT_STOPPED CARD_NOT_HELD METHOD_UNKNOWN MECHANISM_MISSING " +
			"REQUEST_ID_REUSED REQUEST_NOT_KNOWN REQUEST_IDS_USED_UP",
		exitLog: "AUDIT_UNAVAILABLE JOURNAL_UNAVAILABLE JOURNAL_DAMAGED DATABASE_DAMAGED DATABASE_NEWER",
		// inkand says these when it starts, on its own stderr; or they are bugs.
		exitOther: "STATE_COPIED INTERNAL STATE_IN_USE STATE_NOT_WRITABLE CONFIG_INVALID SOCKET_IN_USE SOCKET_NOT_USABLE ENVIRONMENT_REFUSED PIN_MEMORY_UNAVAILABLE READERS_STUCK",
	}
	codes := map[string]exitCode{}
	for code, names := range want {
		for _, name := range strings.Fields(names) {
			codes[name] = code
		}
	}
	for number, name := range inkanpb.Reason_name {
		name = strings.TrimPrefix(name, "REASON_")
		if number == 0 || number >= 6000 { // never sent, and warnings
			continue
		}
		code, decided := codes[name]
		if !decided {
			t.Errorf("nobody has decided the exit code of %s", name)
			continue
		}
		err := fmt.Errorf("signing: %w", client.NewError(inkanpb.Reason(number), "en", nil))
		if got := exitOf(err); got != code {
			t.Errorf("%s ends with %d, want %d", name, got, code)
		}
	}
}

func TestOtherErrorsHaveTheirExitCode(t *testing.T) {
	for _, tc := range []struct {
		name string
		err  error
		want exitCode
	}{
		{"no error", nil, exitOK},
		{"a wrong command line", usage("x", "x"), exitUsage},
		{"anything else", errors.New("x"), exitOther},
	} {
		if got := exitOf(tc.err); got != tc.want {
			t.Errorf("%s ends with %d, want %d", tc.name, got, tc.want)
		}
	}
}

func TestThePackageCommentAndTheHelpHaveTheSameExitCodes(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range exitCodes() {
		if int(e.code) != i {
			t.Errorf("row %d of the table is code %d", i, e.code)
		}
		if line := fmt.Sprintf("//\t%-4d%s\n", e.code, e.en); !strings.Contains(string(doc), line) {
			t.Errorf("doc.go does not have the line %q", line)
		}
	}
}
