package broker_test

import (
	"slices"
	"testing"

	"github.com/inkan-project/inkan/daemon/internal/broker"
	"github.com/inkan-project/inkan/daemon/internal/pinguard"
	"github.com/inkan-project/inkan/daemon/internal/prompt"
	"github.com/inkan-project/inkan/pcsc/virtual/pivcard"
	"github.com/inkan-project/inkan/token"
)

func freely(c *broker.Config) { c.Virtual = true }

func (h *house) id() token.CardID { return h.card().Identity.Card }

func (h *house) unlockLeft() int {
	return h.guard.Belief(pinguard.Account{Card: h.id(), Secret: token.SecretUnlockCode, Limit: 10}).Left
}

// asked is what people were asked for, in order.
func (h *house) asked() []prompt.Asked {
	var all []prompt.Asked
	for _, r := range h.agent.asked {
		all = append(all, r.Ask)
	}
	return all
}

func TestThePINIsChangedAndOnlyTheNewOneWorks(t *testing.T) {
	h := newHouse(t, nil)
	h.agent.next = []string{"486159", "486159"}
	if _, err := h.ChangePIN(t.Context(), h.caller, h.id()); err != nil {
		t.Fatalf("ChangePIN: %v", err)
	}
	if got, want := h.asked(), []prompt.Asked{prompt.AskPIN, prompt.AskNewPIN, prompt.AskNewAgain}; !slices.Equal(got, want) {
		t.Errorf("asked for %v, want %v", got, want)
	}
	if _, err := h.sign(t, "9a"); token.KindOf(err) != token.KindPINWrong || h.left() != 9 {
		t.Errorf("signing with the old PIN: %v, %d left", err, h.left())
	}
	h.agent.digits = "486159"
	if _, err := h.sign(t, "9a"); err != nil || h.left() != 10 {
		t.Errorf("signing with the new PIN: %v, %d left", err, h.left())
	}
}

func TestANewPINThatCannotBeSendsNothing(t *testing.T) {
	tests := map[string]struct {
		next []string
		want token.Kind
	}{
		"too short":     {[]string{"48615"}, token.KindNewPINRefused},
		"a row":         {[]string{"234567"}, token.KindNewPINRefused},
		"the old one":   {[]string{pivcard.DemoPIN}, token.KindNewPINRefused},
		"typed wrongly": {[]string{"486159", "486158"}, token.KindNewPINsDiffer},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, nil)
			h.agent.next = tt.next
			if _, err := h.ChangePIN(t.Context(), h.caller, h.id()); token.KindOf(err) != tt.want {
				t.Errorf("ChangePIN: %v, want %s", err, tt.want)
			}
			if truth := h.truth(t); truth.Verifies != 0 || h.left() != 10 {
				t.Errorf("the card saw %d tries, %d left", truth.Verifies, h.left())
			}
		})
	}
}

func TestALockedCardIsUnlockedWithItsUnlockCode(t *testing.T) {
	h := newHouse(t, freely)
	for i := range 10 {
		h.agent.digits = string(rune('0'+i)) + "00007"
		if _, err := h.sign(t, "9a"); err == nil {
			t.Fatal("a wrong PIN signed")
		}
	}
	if status, err := h.VerifyPIN(t.Context(), h.caller, h.id()); token.KindOf(err) != token.KindCardLocked {
		t.Fatalf("after ten wrong PINs: %v, %+v", err, status)
	}
	h.agent.digits, h.agent.next = "87654321", []string{"486159", "486159"}
	if _, _, err := h.Unlock(t.Context(), h.caller, h.id()); token.KindOf(err) != token.KindUnlockCodeWrong || h.unlockLeft() != 9 {
		t.Errorf("a wrong unlock code: %v, %d left", err, h.unlockLeft())
	}
	h.agent.digits, h.agent.next = pivcard.DemoUnlockCode, []string{"486159", "486159"}
	status, warnings, err := h.Unlock(t.Context(), h.caller, h.id())
	if err != nil || status.State != token.CardReady || status.PIN.Left != 10 || h.unlockLeft() != 10 {
		t.Errorf("the right unlock code: %v, state %d, %d and %d left", err, status.State, status.PIN.Left, h.unlockLeft())
	}
	if !slices.Equal(warnings, []broker.Warning{broker.DefaultUnlockCode}) {
		t.Errorf("warnings %v, want that the code is a default", warnings)
	}
	h.agent.digits = "486159"
	if _, err := h.sign(t, "9a"); err != nil {
		t.Errorf("signing with the new PIN: %v", err)
	}
}

func TestTenWrongUnlockCodesMakeALockedCardDead(t *testing.T) {
	h := newHouse(t, freely)
	for i := range 10 {
		h.agent.digits = string(rune('0'+i)) + "00007"
		_, _ = h.sign(t, "9a")
	}
	for i := range 10 {
		h.agent.digits, h.agent.next = "8765432"+string(rune('0'+i)), []string{"486159", "486159"}
		if _, _, err := h.Unlock(t.Context(), h.caller, h.id()); token.KindOf(err) != token.KindUnlockCodeWrong {
			t.Errorf("wrong unlock code %d: %v", i+1, err)
		}
	}
	before := len(h.agent.asked)
	if _, _, err := h.Unlock(t.Context(), h.caller, h.id()); token.KindOf(err) != token.KindUnlockCodeUsedUp || len(h.agent.asked) != before {
		t.Errorf("the eleventh: %v, asked %d times more", err, len(h.agent.asked)-before)
	}
	if s := h.Status(t.Context()).Cards[0]; s.State != token.CardDead {
		t.Errorf("state %d, want dead", s.State)
	}
}

func TestThreeTriesWithoutAVerdictHoldTheCardUntilAPersonConfirms(t *testing.T) {
	h := newHouse(t, freely)
	h.events.fail = "VERIFY"
	for range 3 {
		if _, err := h.sign(t, "9a"); token.KindOf(err) != token.KindPINNoVerdict {
			t.Fatalf("Sign: %v", err)
		}
	}
	h.events.fail = ""
	if _, err := h.sign(t, "9a"); token.KindOf(err) != token.KindCardHeld || h.truth(t).Verifies != 3 {
		t.Errorf("the fourth: %v after %d VERIFYs", err, h.truth(t).Verifies)
	}
	typed := "8"
	h.agent.typed = &typed
	if _, err := h.Acknowledge(t.Context(), h.caller, h.id(), false, ""); token.KindOf(err) != token.KindConfirmationRefused {
		t.Errorf("Acknowledge with the wrong number typed: %v", err)
	}
	h.agent.typed = nil
	status, err := h.Acknowledge(t.Context(), h.caller, h.id(), false, "")
	if err != nil || status.State != token.CardReady || status.PIN.Left != 7 || status.PIN.Unaccounted != 3 {
		t.Errorf("Acknowledge: %v, %+v", err, status.PIN)
	}
	if _, err := h.Acknowledge(t.Context(), h.caller, h.id(), false, ""); token.KindOf(err) != token.KindCardNotHeld {
		t.Errorf("Acknowledge once more: %v", err)
	}
	if _, err := h.sign(t, "9a"); err != nil || h.left() != 10 {
		t.Errorf("Sign afterwards: %v, %d left", err, h.left())
	}
}

func TestAPINThatTheCardCalledWrongIsNotSentAgain(t *testing.T) {
	h := newHouse(t, freely)
	h.agent.digits = "000007"
	if _, err := h.sign(t, "9a"); token.KindOf(err) != token.KindPINWrong {
		t.Fatal(err)
	}
	no := ""
	h.agent.typed = &no
	if _, err := h.sign(t, "9a"); token.KindOf(err) != token.KindPINKnownWrong || h.truth(t).Verifies != 1 {
		t.Errorf("again: %v after %d VERIFYs", err, h.truth(t).Verifies)
	}
	h.agent.typed = nil // the person types that it was changed elsewhere
	if _, err := h.sign(t, "9a"); token.KindOf(err) != token.KindPINWrong || h.truth(t).Verifies != 2 {
		t.Errorf("after the person's word: %v after %d VERIFYs", err, h.truth(t).Verifies)
	}
}

func TestTheLastThreeTriesAreTypedBack(t *testing.T) {
	h := newHouse(t, nil)
	for range 7 {
		a, err := h.guard.Debit(pinguard.Account{Card: h.id(), Secret: token.SecretPIN, Limit: 10}, pinguard.Who{Free: true}, pinguard.AuditMark{})
		if err != nil {
			t.Fatal(err)
		}
		if err := h.guard.Settle(a, token.Verdict{Kind: token.VerdictWrong}, pinguard.AuditMark{}); err != nil {
			t.Fatal(err)
		}
	}
	typed := "4"
	h.agent.typed = &typed
	if _, err := h.sign(t, "9a"); token.KindOf(err) != token.KindConfirmationRefused || h.truth(t).Verifies != 0 {
		t.Errorf("with the wrong number typed: %v", err)
	}
	h.agent.typed = nil
	if _, err := h.sign(t, "9a"); err != nil {
		t.Errorf("with the right number typed: %v", err)
	}
	if last := h.agent.asked[len(h.agent.asked)-1]; last.Confirmation != "3" || last.Reason != prompt.ReasonFewTries {
		t.Errorf("the prompt asked for %q (%d), want 3", last.Confirmation, last.Reason)
	}
}
