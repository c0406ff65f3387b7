package p11

import (
	"testing"

	"github.com/inkan-project/inkan/token"
	"github.com/inkan-project/inkan/token/p11/frame"
)

// TestEveryReturnValueOfALoginHasItsVerdict: only CKR_OK is right, only
// CKR_PIN_INCORRECT is wrong, only CKR_PIN_LOCKED is blocked; the rest is no
// verdict, and a session that may be somebody else's is not used any more.
func TestEveryReturnValueOfALoginHasItsVerdict(t *testing.T) {
	type want struct {
		verdict token.VerdictKind
		kind    token.Kind
		lost    bool
	}
	const none, fault, removed = token.VerdictNone, token.KindCardFault, token.KindCardRemoved
	named := map[uint]want{
		0x00:  {verdict: token.VerdictOK},
		0xA0:  {verdict: token.VerdictWrong},       // CKR_PIN_INCORRECT
		0xA4:  {verdict: token.VerdictBlocked},     // CKR_PIN_LOCKED
		0xA1:  {none, fault, false},                // CKR_PIN_INVALID
		0xA2:  {none, fault, false},                // CKR_PIN_LEN_RANGE
		0xA3:  {none, token.KindPINExpired, false}, // CKR_PIN_EXPIRED
		0x101: {none, fault, false},                // CKR_USER_NOT_LOGGED_IN
		0x102: {none, token.KindPINNotSet, false},  // CKR_USER_PIN_NOT_INITIALIZED
		0x100: {none, fault, true},                 // CKR_USER_ALREADY_LOGGED_IN
		0x104: {none, fault, true},                 // CKR_USER_ANOTHER_ALREADY_LOGGED_IN
		0x03:  {none, removed, true},               // CKR_SLOT_ID_INVALID
		0x30:  {none, token.KindCardSilent, true},  // CKR_DEVICE_ERROR
		0x32:  {none, removed, true},               // CKR_DEVICE_REMOVED
		0xB0:  {none, removed, true},               // CKR_SESSION_CLOSED
		0xB3:  {none, removed, true},               // CKR_SESSION_HANDLE_INVALID
		0xE0:  {none, removed, true},               // CKR_TOKEN_NOT_PRESENT
		0xE1:  {none, fault, true},                 // CKR_TOKEN_NOT_RECOGNIZED
		0x70:  {none, token.KindAlgorithmMismatch, false},
		0x71:  {none, token.KindAlgorithmMismatch, false},
	}
	check := func(rv uint, w want) {
		v := verdictOf(frame.Answer{RV: rv, Call: "C_Login", Token: &frame.TokenInfo{Flags: flagPINFinal}})
		if v.Kind != w.verdict || token.KindOf(v.Cause) != w.kind {
			t.Errorf("0x%X gives %v, %v, want %v, %s", rv, v.Kind, v.Cause, w.verdict, w.kind)
		}
		if lost := rv != ckrOK && meaningOf(rv).lost; lost != w.lost {
			t.Errorf("0x%X ends the use: %v, want %v", rv, lost, w.lost)
		}
		tries := map[token.VerdictKind]token.Tries{
			token.VerdictWrong: token.KnownTries(1), token.VerdictBlocked: token.KnownTries(0),
		}[w.verdict]
		if v.Tries != tries {
			t.Errorf("0x%X gives %v tries, want %v", rv, v.Tries, tries)
		}
	}
	for rv := range uint(0x400) {
		w, isNamed := named[rv]
		if !isNamed {
			w = want{none, fault, true} // a fault, whatever it is called
		}
		check(rv, w)
	}
	check(0x80000000, want{none, fault, true}) // CKR_VENDOR_DEFINED
	check(^uint(0), want{none, fault, true})

	// What went wrong beside the module is no verdict, whatever is said with it.
	v := verdictOf(frame.Answer{RV: 0, Call: "C_Login", Error: "no memory"})
	if v.Kind != none || token.KindOf(v.Cause) != fault {
		t.Errorf("an error beside CKR_OK gives %v, %v", v.Kind, v.Cause)
	}
}
