package pcsc

import (
	"errors"
	"fmt"
	"testing"

	"github.com/ebfe/scard"
)

func TestEveryCodeHasAMeaning(t *testing.T) {
	tests := []struct {
		code    uint32
		meaning error
		sent    bool // the card may have acted
	}{
		{0x80100001, ErrFault, true},        // internal error
		{0x80100002, ErrFault, true},        // cancelled
		{0x80100003, ErrNoService, true},    // invalid handle: of an earlier pcscd
		{0x80100004, ErrFault, true},        // invalid parameter
		{0x80100008, ErrFault, true},        // insufficient buffer
		{0x80100009, ErrNoReader, true},     // unknown reader
		{0x8010000A, ErrFault, true},        // timeout: of a wait only
		{0x8010000B, ErrSharing, false},     // sharing violation
		{0x8010000C, ErrRemoved, false},     // no smart card
		{0x8010000F, ErrUnresponsive, true}, // protocol mismatch
		{0x80100013, ErrNoService, true},    // communication error: pcscd was killed
		{0x80100015, ErrUnresponsive, true}, // invalid ATR
		{0x80100016, ErrFault, true},        // not transacted: before or after the card acted
		{0x80100017, ErrNoReader, true},     // reader unavailable
		{0x80100018, ErrNoService, true},    // shutdown
		{0x8010001D, ErrNoService, true},    // no service
		{0x8010001E, ErrNoService, true},    // service stopped
		{0x8010001F, ErrFault, true},        // unexpected
		{0x80100027, ErrDenied, true},       // no access
		{0x8010002E, ErrNoReader, true},     // no readers available
		{0x80100065, ErrUnresponsive, true}, // unsupported card
		{0x80100066, ErrUnresponsive, true}, // unresponsive card
		{0x80100067, ErrUnresponsive, true}, // unpowered card
		{0x80100068, ErrReset, false},       // card was reset
		{0x80100069, ErrRemoved, false},     // card was removed
		{0x8010006A, ErrDenied, true},       // security violation: polkit
		{0x12345678, ErrFault, true},        // not of PC/SC at all
	}
	for _, test := range tests {
		name := fmt.Sprintf("0x%08X", test.code)
		err := explain(fmt.Errorf("doing: %w", scard.Error(test.code)))
		for _, known := range allErrors() {
			if got, want := errors.Is(err, known), known == test.meaning; got != want { //nolint:errorlint // the values themselves are compared
				t.Errorf("%s is %q: %t, want %t", name, known, got, want)
			}
		}
		sent := explainTransmit(scard.Error(test.code))
		if got := errors.Is(sent, ErrNoAnswer); got != test.sent {
			t.Errorf("a command that ended with %s: outcome unknown %t, want %t (%v)", name, got, test.sent, sent)
		}
		if test.code == 0x8010006A {
			test.meaning = ErrNoService // who was let in once: pcscd ended
		}
		if test.meaning != ErrFault && !errors.Is(sent, test.meaning) { //nolint:errorlint // the values themselves are compared
			t.Errorf("a command that ended with %s: %v, want also %v", name, sent, test.meaning)
		}
	}
}

func TestErrorsWithAMeaningKeepIt(t *testing.T) {
	for _, err := range append(allErrors(), nil) {
		if got := explain(err); got != err { //nolint:errorlint // it must be the same value
			t.Errorf("explain(%v) = %v", err, got)
		}
	}
}

func allErrors() []error {
	return []error{
		ErrNoService, ErrNoReader, ErrRemoved, ErrReset, ErrSharing, ErrNoAnswer, ErrTimeout,
		ErrDenied, ErrUnresponsive, ErrFault,
	}
}

func TestOnlyAStatusWordMakesAnAnswer(t *testing.T) {
	for answer, want := range map[string]bool{
		"":                                       false,
		"\x90":                                   false, // half of one
		"\x90\x00":                               true,
		"\x63\xC3":                               true,
		"\x61\x10":                               true,
		"\x6F\x00":                               true,
		"\x9F\x10":                               true,  // of older cards
		"\x60\x00":                               false, // the procedure byte NULL of T=0
		"\x7C\x82\x01":                           false, // the beginning of a signature
		"\x7C\x46\x82\x44\x30":                   false,
		string(make([]byte, 1<<16+3)):            false,
		string(make([]byte, 1<<16)) + "\x90\x00": true,
	} {
		if err := usable([]byte(answer)); (err == nil) != want || err != nil && !errors.Is(err, ErrNoAnswer) {
			t.Errorf("answer of %d bytes, %.8X: error %v, want usable %t", len(answer), answer, err, want)
		}
	}
}
