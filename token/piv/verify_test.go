package piv_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/inkan-project/inkan/pcsc"
	"github.com/inkan-project/inkan/token"
	"github.com/inkan-project/inkan/token/cardprofile"
	"github.com/inkan-project/inkan/token/piv"
	"github.com/inkan-project/inkan/token/tokentest"
)

func attempt() *token.Attempt { return token.NewAttempt(testCard, token.SecretPIN, 1) }

func TestVerifySendsThePaddedPINOnce(t *testing.T) {
	for secret, want := range map[string]string{
		"123456":   "0020008008313233343536ffff",
		"1234567":  "002000800831323334353637ff",
		"12345678": "00200080083132333435363738",
	} {
		card := newCard(t)
		card.verify = func([]byte) ([]byte, error) { return sw(0x9000), nil }
		tok := identified(t, card, piv.Options{})
		verdict, err := tok.Verify(t.Context(), tokentest.PIN(t, []byte(secret)), attempt())
		if err != nil || verdict.Kind != token.VerdictOK {
			t.Fatalf("Verify = %+v, %v", verdict, err)
		}
		if diff := cmp.Diff([][]byte{unhex(t, want)}, card.sent); diff != "" {
			t.Errorf("commands for a PIN of %d digits (-want +got):\n%s", len(secret), diff)
		}
	}
}

func TestVerifySendsThePageOfThePINItself(t *testing.T) {
	page := make([]byte, token.PINPageMin)
	copy(page[token.PINHeadroom:], "123456")
	pin, err := token.NewPIN(page, 6, nil)
	if err != nil {
		t.Fatal(err)
	}
	card := newCard(t)
	same := false
	card.verify = func(command []byte) ([]byte, error) {
		same = &command[5] == &page[token.PINHeadroom]
		return sw(0x9000), nil
	}
	if _, err := identified(t, card, piv.Options{}).Verify(t.Context(), pin, attempt()); err != nil {
		t.Fatal(err)
	}
	if !same {
		t.Error("the PIN was copied on its way to the card")
	}
}

// TestEveryStatusWordHasItsVerdict goes through all 65,536, for each card
// profile that is shipped or used in tests: a wrong reading locks cards or
// gives tries back.
func TestEveryStatusWordHasItsVerdict(t *testing.T) {
	for name, profile := range allProfiles(t) {
		t.Run(name, func(t *testing.T) {
			var answer []byte
			card := newCard(t)
			card.verify = func([]byte) ([]byte, error) { return answer, nil }
			tok := identified(t, card, piv.FromProfile(profile))
			pin := tokentest.PIN(t, []byte("123456"))
			for word := range 1 << 16 {
				answer = sw(uint16(word))
				card.sent = nil
				got, err := tok.Verify(t.Context(), pin, attempt())
				if err != nil {
					t.Fatalf("%04X: %v", word, err)
				}
				if len(card.sent) != 1 {
					t.Fatalf("%04X: %d commands were sent, want 1", word, len(card.sent))
				}
				want := wantVerdict(uint16(word), profile.Words)
				if got.Kind != want.Kind || got.Tries != want.Tries || got.SW != want.SW {
					t.Errorf("%04X: verdict %q, tries %v, SW %04X, want %q, %v", word, got.Kind, got.Tries, got.SW, want.Kind, want.Tries)
				}
				if (got.Cause != nil) != (want.Kind == token.VerdictNone) {
					t.Errorf("%04X: verdict %q has the cause %v", word, got.Kind, got.Cause)
				}
				if got.Cause != nil && token.KindOf(got.Cause) != token.KindCardFault {
					t.Errorf("%04X: cause %v, want %s", word, got.Cause, token.KindCardFault)
				}
			}
		})
	}
}

// allProfiles are the shipped profiles, those of the variants of the virtual
// card, none at all, and two that only contradict.
func allProfiles(t *testing.T) map[string]token.Profile {
	t.Helper()
	all := map[string]token.Profile{
		"no profile":                          {},
		"strictest":                           cardprofile.Strictest(),
		"a profile that contradicts ISO 7816": {Words: token.PINWords{Wrong: []uint16{0x9000, 0x6983, 0x6984, 0x63C0, 0x63CF}}},
		"a profile that blocks what it can": {Words: token.PINWords{
			Blocked: []uint16{0x9000, 0x63C0, 0x63C5, 0x6985, 0x6305}, Counted: []uint16{0x6300},
		}},
	}
	for name := range variantProfiles {
		all["variant "+name] = profileOf(t, name)
	}
	for _, atr := range [][]byte{nil, openCard(t, t.TempDir()).ATR()} {
		p := shipped(t).For("PIV", atr, "")
		all["shipped "+p.Name] = p
	}
	return all
}

// wantVerdict is the table in words of its own.
func wantVerdict(word uint16, words token.PINWords) token.Verdict {
	v := token.Verdict{SW: word}
	family := slices.Contains(words.Counted, word&0xFFF0)
	left := int(word & 0x000F)
	switch {
	case word == 0x9000:
		v.Kind = token.VerdictOK
	case word == 0x6983 || word == 0x6984:
		v.Kind, v.Tries = token.VerdictBlocked, token.KnownTries(0)
	case word > 0x63C0 && word <= 0x63CF, family && left > 0:
		v.Kind, v.Tries = token.VerdictWrong, token.KnownTries(left)
	case slices.Contains(words.Blocked, word):
		v.Kind, v.Tries = token.VerdictBlocked, token.KnownTries(0)
	case word == 0x63C0, family:
		v.Kind, v.Tries = token.VerdictWrong, token.KnownTries(0)
	case slices.Contains(words.Wrong, word):
		v.Kind = token.VerdictWrong
	}
	return v
}

func TestNoAnswerIsNoVerdictAndTheCardMustBeIdentifiedAgain(t *testing.T) {
	tests := []struct {
		name   string
		answer []byte
		err    error
		kind   token.Kind
	}{
		{"nothing", nil, nil, token.KindCardSilent},
		{"one byte", []byte{0x90}, nil, token.KindCardSilent},
		{"three bytes that end in 9000", []byte{0x00, 0x90, 0x00}, nil, token.KindCardSilent},
		{"data where none belongs", append(make([]byte, 256), 0x63, 0xC9), nil, token.KindCardSilent},
		{"card removed", nil, fmt.Errorf("transmitting: %w", pcsc.ErrRemoved), token.KindCardRemoved},
		{"reader gone", nil, pcsc.ErrNoReader, token.KindCardRemoved},
		{"no answer", nil, pcsc.ErrNoAnswer, token.KindCardSilent},
		{"time is up", nil, pcsc.ErrTimeout, token.KindCardSilent},
		{"reset by another program", nil, pcsc.ErrReset, token.KindCardReset},
		{"held by another program", nil, pcsc.ErrSharing, token.KindReaderInUse},
		{"no PC/SC service", nil, pcsc.ErrNoService, token.KindPCSCUnavailable},
		{"any other error", nil, errors.New("protocol error"), token.KindReaderFault},
		{"the call ended", nil, context.Canceled, token.KindCallEnded},
		{"9000 together with an error", sw(0x9000), pcsc.ErrNoAnswer, token.KindCardSilent},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			card := newCard(t)
			card.verify = func([]byte) ([]byte, error) { return tt.answer, tt.err }
			tok := identified(t, card, piv.Options{Words: token.PINWords{Wrong: []uint16{0}}})
			used := attempt()
			got, err := tok.Verify(t.Context(), tokentest.PIN(t, []byte("123456")), used)
			if err != nil {
				t.Fatalf("Verify: %v, want a verdict: something was sent", err)
			}
			if got.Kind != token.VerdictNone || got.Tries != (token.Tries{}) || got.SW != 0 {
				t.Errorf("verdict %+v, want none", got)
			}
			if token.KindOf(got.Cause) != tt.kind || tt.err != nil && !errors.Is(got.Cause, tt.err) {
				t.Errorf("cause %v, want %s because of %v", got.Cause, tt.kind, tt.err)
			}
			if len(card.sent) != 1 {
				t.Errorf("%d commands were sent, want 1", len(card.sent))
			}
			if used.Redeem(testCard, token.SecretPIN) == nil {
				t.Error("the attempt can be used again")
			}
			card.sent = nil
			if _, err := tok.Verify(t.Context(), tokentest.PIN(t, []byte("123456")), attempt()); err == nil || len(card.sent) != 0 {
				t.Errorf("the next Verify gives %v and %d commands, want an error and none: it may be another card", err, len(card.sent))
			}
		})
	}
}

func TestTriesAreAskedOnlyWhereThatIsSafe(t *testing.T) {
	tests := []struct {
		name     string
		options  piv.Options
		secret   token.Secret
		answer   []byte
		err      error
		want     token.Tries
		verified bool
		wantErr  token.Kind
		sent     int
	}{
		{name: "not known to be safe", secret: token.SecretPIN},
		{name: "the unlock code", options: piv.Options{EmptyVerifySafe: true}, secret: token.SecretUnlockCode},
		{name: "ten left", options: piv.Options{EmptyVerifySafe: true}, secret: token.SecretPIN, answer: sw(0x63CA), want: token.KnownTries(10), sent: 1},
		{name: "none left", options: piv.Options{EmptyVerifySafe: true}, secret: token.SecretPIN, answer: sw(0x63C0), want: token.KnownTries(0), sent: 1},
		{name: "blocked", options: piv.Options{EmptyVerifySafe: true}, secret: token.SecretPIN, answer: sw(0x6983), want: token.KnownTries(0), sent: 1},
		{name: "verified, which is no number", options: piv.Options{EmptyVerifySafe: true}, secret: token.SecretPIN, answer: sw(0x9000), verified: true, sent: 1},
		{name: "no counter", options: piv.Options{EmptyVerifySafe: true}, secret: token.SecretPIN, answer: sw(0x6A88), sent: 1},
		{name: "6Cxx is not followed", options: piv.Options{EmptyVerifySafe: true}, secret: token.SecretPIN, answer: sw(0x6C08), sent: 1},
		{name: "61xx is not followed", options: piv.Options{EmptyVerifySafe: true}, secret: token.SecretPIN, answer: sw(0x6108), sent: 1},
		{name: "6300 has no number", options: piv.Options{EmptyVerifySafe: true}, secret: token.SecretPIN, answer: sw(0x6300), sent: 1},
		{name: "630x counts where the profile says so", options: piv.Options{EmptyVerifySafe: true, Words: token.PINWords{Counted: []uint16{0x6300}}}, secret: token.SecretPIN, answer: sw(0x6305), want: token.KnownTries(5), sent: 1},
		{name: "a word for blocked", options: piv.Options{EmptyVerifySafe: true, Words: token.PINWords{Blocked: []uint16{0x6985}}}, secret: token.SecretPIN, answer: sw(0x6985), want: token.KnownTries(0), sent: 1},
		{name: "6984 may mean that no PIN was set", options: piv.Options{EmptyVerifySafe: true}, secret: token.SecretPIN, answer: sw(0x6984), sent: 1},
		{name: "removed", options: piv.Options{EmptyVerifySafe: true}, secret: token.SecretPIN, err: pcsc.ErrRemoved, wantErr: token.KindCardRemoved, sent: 1},
		{name: "a torn answer", options: piv.Options{EmptyVerifySafe: true}, secret: token.SecretPIN, answer: []byte{0x63}, wantErr: token.KindCardSilent, sent: 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			card := newCard(t)
			card.verify = func([]byte) ([]byte, error) { return tt.answer, tt.err }
			got, verified, err := identified(t, card, tt.options).Tries(t.Context(), tt.secret)
			if got != tt.want || verified != tt.verified || token.KindOf(err) != tt.wantErr {
				t.Errorf("Tries = %v, %v, %v, want %v, %v, %q", got, verified, err, tt.want, tt.verified, tt.wantErr)
			}
			if len(card.sent) != tt.sent {
				t.Fatalf("%d commands were sent, want %d", len(card.sent), tt.sent)
			}
			if tt.sent == 1 && !bytes.Equal(card.sent[0], []byte{0x00, 0x20, 0x00, 0x80}) {
				t.Errorf("command %x, want a VERIFY without data", card.sent[0])
			}
		})
	}
	t.Run("an application that was not selected", func(t *testing.T) {
		card := newCard(t)
		if _, _, err := piv.Open(card, piv.Options{EmptyVerifySafe: true}).Tries(t.Context(), token.SecretPIN); err == nil || len(card.sent) != 0 {
			t.Errorf("Tries = %v with %d commands, want an error and none", err, len(card.sent))
		}
	})
}

func TestPINIsPaddedAsTheProfileSays(t *testing.T) {
	letters := func(b byte) bool { return b >= 'a' && b <= 'z' }
	for name, tt := range map[string]struct {
		format token.PINFormat
		secret string
		want   string
	}{
		"with zeros":     {token.PINFormat{MinLength: 4, MaxLength: 12, Allowed: letters, PadTo: 12}, "abcdefghi", "002000800c616263646566676869000000"},
		"not at all":     {token.PINFormat{MinLength: 4, MaxLength: 12, Allowed: letters}, "abcd", "002000800461626364"},
		"as PIV wants":   {token.PINFormat{}, "123456", "0020008008313233343536ffff"},
		"to the longest": {token.PINFormat{MinLength: 1, MaxLength: 64, Allowed: letters, PadTo: 64, Pad: 0x20}, "a", "002000804061" + strings.Repeat("20", 63)},
	} {
		card := newCard(t)
		card.verify = func([]byte) ([]byte, error) { return sw(0x9000), nil }
		tok := identified(t, card, piv.Options{PIN: tt.format})
		if _, err := tok.Verify(t.Context(), tokentest.PIN(t, []byte(tt.secret)), attempt()); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff([][]byte{unhex(t, tt.want)}, card.sent); diff != "" {
			t.Errorf("padded %s (-want +got):\n%s", name, diff)
		}
	}
}

func TestPINFormatIsThatOfPIV(t *testing.T) {
	f := piv.PINFormat()
	if f.MinLength != 6 || f.MaxLength != 8 || f.Charset == "" {
		t.Errorf("format %+v, want six to eight digits", f)
	}
	for b := range 256 {
		if got, want := f.Allowed(byte(b)), b >= 0x30 && b <= 0x39; got != want {
			t.Errorf("byte %#02x is allowed: %v, want %v", b, got, want)
		}
	}
}
