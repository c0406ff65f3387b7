package pinguard

import (
	"testing"
	"time"

	"github.com/inkan-project/inkan/token"
)

var code = Account{Card: cardA, Secret: token.SecretUnlockCode, Limit: 10}

// tries makes a try of each of these users, with a minute in between.
func (d *desk) tries(acc Account, verdict token.VerdictKind, uids ...uint32) {
	d.t.Helper()
	for _, uid := range uids {
		if err := d.try(acc, Who{UID: uid}, verdict); err != nil {
			d.t.Fatalf("try of user %d: %v", uid, err)
		}
		d.pass(time.Minute)
	}
}

// The unlock code has the same gates as the PIN, of its own: ten wrong ones end
// the card.
func TestTheUnlockCodeHasGatesOfItsOwn(t *testing.T) {
	for what, open := range map[string]func(*desk) error{
		"an insertion":     func(d *desk) error { return d.Inserted(cardA, AuditMark{}) },
		"an administrator": func(d *desk) error { return d.Acknowledge(cardA, true, AuditMark{}) },
	} {
		d := newDesk(t)
		d.tries(code, token.VerdictWrong, 1, 2, 3)
		d.refuses("a fourth unlock code", d.Admit(code, person), token.KindReinsertNeeded)
		d.refuses("a PIN meanwhile", d.Admit(pin(10), person), "")
		if !d.IsGated(cardA) {
			t.Error("an insertion would not be noted")
		}
		if err := open(d); err != nil {
			t.Fatal(err)
		}
		d.restart()
		d.refuses("after "+what, d.Admit(code, person), "")
		if got := d.Belief(code).Left; got != 7 {
			t.Errorf("after %s: %d tries left, want 7", what, got)
		}
	}
}

func TestAnUnlockCodeWithoutAVerdictThreeTimesIsHeldAlone(t *testing.T) {
	d := newDesk(t)
	for range silentLimit { // an insertion in between, for the limit of one user
		d.tries(code, token.VerdictNone, 1)
		if err := d.Inserted(cardA, AuditMark{}); err != nil {
			t.Fatal(err)
		}
	}
	d.refuses("a fourth", d.Admit(code, person), token.KindCardHeld)
	d.refuses("a PIN", d.Admit(pin(10), person), "")
	if !d.IsHeld(cardA, false) {
		t.Error("nobody could acknowledge it")
	}
	if got := StateOf(d.Belief(pin(10)), d.Belief(code)); got != token.CardReady {
		t.Errorf("state %d, want ready: the card signs", got)
	}
	if err := d.Acknowledge(cardA, false, AuditMark{}); err != nil {
		t.Fatal(err)
	}
	d.restart()
	d.refuses("after a person's word", d.Admit(code, person), "")
}

func TestOnlyAnUnlockCodeGivesAnotherSecretItsTriesBack(t *testing.T) {
	d := newDesk(t)
	d.tries(pin(10), token.VerdictWrong, 1, 2)
	d.tries(code, token.VerdictWrong, 1)
	for what, acc := range map[string]Account{
		"an admin key":      {Card: cardA, Secret: token.SecretAdminKey, Limit: 10},
		"another card's":    {Card: cardB, Secret: token.SecretUnlockCode, Limit: 10},
		"another card's, 2": {Card: cardB, Secret: token.SecretPIN, Limit: 10},
	} {
		d.tries(acc, token.VerdictOK, 9)
		d.restart()
		if p, c := d.Belief(pin(10)).Left, d.Belief(code).Left; p != 8 || c != 9 {
			t.Errorf("after %s was right: %d and %d tries left, want 8 and 9", what, p, c)
		}
	}
	d.tries(pin(10), token.VerdictOK, 9)
	if got := d.Belief(code).Left; got != 9 {
		t.Errorf("after a right PIN %d unlock tries are left, want 9", got)
	}
}

// A right PIN ends a row of wrong ones, and still an insertion has something to
// open: what each user has used up.
func TestAnInsertionIsNotedAlsoAfterARightPIN(t *testing.T) {
	d := newDesk(t)
	for range maxUser {
		d.tries(pin(10), token.VerdictWrong, 1)
		d.tries(pin(10), token.VerdictOK, 2)
	}
	d.refuses("the user of two wrong ones", d.Admit(pin(10), Who{UID: 1}), token.KindReinsertNeeded)
	if !d.IsGated(cardA) {
		t.Error("an insertion would not be noted")
	}
	if d.IsGated(cardB) {
		t.Error("an insertion of another card would be noted")
	}
	if err := d.Inserted(cardA, AuditMark{}); err != nil {
		t.Fatal(err)
	}
	d.refuses("after an insertion", d.Admit(pin(10), Who{UID: 1}), "")
	if d.IsGated(cardA) {
		t.Error("another insertion would be noted, too")
	}
}

func TestACardThatSaysNoneLeftIsLockedWhateverTheLimitBecomes(t *testing.T) {
	for _, limit := range []int{3, 10} {
		d := newDesk(t)
		none := pin(limit)
		none.OnCard = token.KnownTries(0)
		if was, err := d.Lower(none, AuditMark{}); !was || err != nil {
			t.Fatalf("Lower: %t, %v", was, err)
		}
		d.restart()
		if b := d.Belief(pin(10)); b.State != token.CardLocked {
			t.Errorf("counted with a limit of %d: %+v, want locked", limit, b)
		}
	}
}

func TestAWrongVerdictKeepsTheLimitOfItsOwnProfile(t *testing.T) {
	d := newDesk(t)
	a, err := d.Debit(pin(5), freely, AuditMark{})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Settle(a, token.Verdict{Kind: token.VerdictWrong, Tries: token.KnownTries(4)}, AuditMark{}); err != nil {
		t.Fatal(err)
	}
	if b := d.Belief(pin(5)); b.Left != 4 || b.Elsewhere {
		t.Errorf("belief %+v, want 4 left and nothing used elsewhere", b)
	}
	if err := d.Settle(a, token.Verdict{Kind: token.VerdictOK}, AuditMark{}); err == nil {
		t.Error("an attempt was settled twice")
	}
}
