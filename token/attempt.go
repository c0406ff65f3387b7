package token

import (
	"errors"
	"fmt"
	"sync/atomic"
)

// Attempt is the permission to send one secret to one card once. It exists
// only after its try was made durable, and is redeemed once. Making one is
// reserved to the PIN guard (and to token/tokentest, which has no journal).
type Attempt struct {
	card     CardID
	secret   Secret
	number   uint64
	redeemed atomic.Bool
}

// NewAttempt is for the PIN guard alone; layering_test.go names its callers.
func NewAttempt(card CardID, secret Secret, number uint64) *Attempt {
	return &Attempt{card: card, secret: secret, number: number}
}

// ErrAttempt means that nothing was sent because the attempt was missing,
// used, or for another card or secret: a bug in the caller.
var ErrAttempt = errors.New("attempt cannot be redeemed")

// Redeem uses the attempt up. Every Token calls it with the identity it has
// just read from the card, right before the command is sent.
func (a *Attempt) Redeem(card CardID, secret Secret) error {
	if a == nil {
		return fmt.Errorf("%w: there is none", ErrAttempt)
	}
	if a.card != card || a.secret != secret {
		return fmt.Errorf("%w: made for %s of %s, not for %s of %s", ErrAttempt, a.secret, a.card, secret, card)
	}
	if a.redeemed.Swap(true) {
		return fmt.Errorf("%w: it was used before", ErrAttempt)
	}
	return nil
}

// Card returns the card the attempt is for.
func (a *Attempt) Card() CardID { return a.card }

// Secret returns the secret the attempt is for.
func (a *Attempt) Secret() Secret { return a.secret }

// Number returns the number under which the try is recorded.
func (a *Attempt) Number() uint64 { return a.number }

// VerdictKind is how a card answered to a secret. Values are written to the
// PIN-try journal: they never change.
type VerdictKind uint8

// Kinds of verdict. The zero value is no verdict: the careful reading.
const (
	VerdictNone    VerdictKind = 0 // no answer, or one that says nothing about the secret
	VerdictOK      VerdictKind = 1 // 9000
	VerdictWrong   VerdictKind = 2 // the card said: wrong
	VerdictBlocked VerdictKind = 3 // the card said: no tries left
)

// String names the kind.
func (k VerdictKind) String() string {
	switch k {
	case VerdictOK:
		return "ok"
	case VerdictWrong:
		return "wrong"
	case VerdictBlocked:
		return "blocked"
	case VerdictNone:
	}
	return "no verdict"
}

// Verdict is everything a card said about a secret.
type Verdict struct {
	Kind  VerdictKind
	Tries Tries  // left after it, where the card says so
	SW    uint16 // status word (ISO/IEC 7816-4 section 5.6), 0 = none came
	Cause error  // for VerdictNone: what went wrong, else nil
}
