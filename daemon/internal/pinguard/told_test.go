package pinguard

import (
	"testing"

	"github.com/inkan-project/inkan/token"
)

func (d *desk) says(n int) {
	acc := pin(10)
	acc.OnCard = token.KnownTries(n)
	d.Told(acc)
}

func (d *desk) isLower(n int) bool {
	acc := pin(10)
	acc.OnCard = token.KnownTries(n)
	return d.IsLower(acc)
}

func TestACardWithAnOwnLowerLimitIsNotTakenForUsedElsewhere(t *testing.T) {
	d := newDesk(t)
	d.says(3)
	if d.isLower(3) {
		t.Error("a card of three tries is taken for used elsewhere when it is met")
	}
	if err := d.try(pin(10), freely, token.VerdictWrong); err != nil {
		t.Fatal(err)
	}
	d.restart()
	if b := d.Belief(pin(10)); b.Left != 2 || b.Limit != 3 || d.isLower(2) {
		t.Errorf("after a wrong PIN: %+v, want 2 of 3", b)
	}
	if err := d.try(pin(10), freely, token.VerdictOK); err != nil {
		t.Fatal(err)
	}
	d.restart()
	d.says(3) // right after it: this is all it ever has
	if b := d.Belief(pin(10)); b.Left != 3 || d.isLower(3) {
		t.Errorf("after a right PIN: %+v, want 3 of 3", b)
	}
	if err := d.try(pin(10), freely, token.VerdictOK); err != nil {
		t.Fatal(err)
	}
	if !d.isLower(2) {
		t.Error("a try that was used elsewhere is not noticed")
	}
}

func TestAHigherCountIsBelievedOnlyWhileNothingIsUsed(t *testing.T) {
	d := newDesk(t)
	d.says(3)
	if err := d.try(pin(10), freely, token.VerdictWrong); err != nil {
		t.Fatal(err)
	}
	d.says(10) // a card may say anything
	if got := d.Belief(pin(10)).Left; got != 2 {
		t.Errorf("%d tries left, want 2: the card's word gave some back", got)
	}
	if err := d.try(pin(10), freely, token.VerdictOK); err != nil {
		t.Fatal(err)
	}
	if got := d.Belief(pin(10)).Left; got != 10 {
		t.Errorf("%d tries left on a card that was met with three and is full now, want at most 10", got)
	}
	d.says(10)
	if !d.isLower(7) || d.Belief(pin(10)).Left != 10 {
		t.Error("three tries that were used elsewhere since are not noticed")
	}
}

// A PKCS#11 token says that some tries are spent, and not how many.
func TestACardThatSaysFewerIsLowWithoutANumber(t *testing.T) {
	acc := Account{Card: "p11-1", Secret: token.SecretPIN, Limit: 10, OnCard: token.FewerTries()}
	if b := believe(count{}, acc); b.State != token.CardLow || b.Left != 10 || b.Confirmed {
		t.Errorf("believed: %+v, want low, 10 at most", b)
	}
}
