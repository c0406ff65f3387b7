package broker_test

import (
	"strings"
	"testing"

	"github.com/inkan-project/inkan/daemon/internal/broker"
	"github.com/inkan-project/inkan/daemon/internal/prompt"
	"github.com/inkan-project/inkan/token"
)

func TestOnlyWhatIsHeldIsAcknowledgedAndNobodyIsAskedForMore(t *testing.T) {
	h := newHouse(t, nil)
	for _, administrator := range []bool{false, true} {
		if _, err := h.Acknowledge(t.Context(), h.caller, h.id(), administrator, "x"); token.KindOf(err) != token.KindCardNotHeld {
			t.Errorf("administrator %t: %v, want CARD_NOT_HELD", administrator, err)
		}
	}
	if len(h.agent.asked) != 0 {
		t.Error("a person was asked about a card that is not held")
	}
	if _, err := h.Acknowledge(t.Context(), h.caller, "piv-00", true, "x"); token.KindOf(err) != token.KindCardNotFound {
		t.Errorf("a card that is not there: %v, want CARD_NOT_FOUND", err)
	}
}

func TestAProgramAcknowledgesNothing(t *testing.T) {
	h := newHouse(t, func(c *broker.Config) { c.ProgramPINs = true })
	h.spend(t, token.SecretPIN, token.VerdictNone, 3)
	h.agent.source = prompt.SourceProgram
	if _, err := h.Acknowledge(t.Context(), h.caller, h.id(), false, ""); token.KindOf(err) != token.KindPINSourceRefused {
		t.Errorf("Acknowledge: %v, want PIN_SOURCE_REFUSED", err)
	}
	if !h.guard.IsHeld(h.id(), false) {
		t.Error("the card is not held any more")
	}
}

// A person's word ends the hold, an administrator's opens the gate as well.
func TestWhoAcknowledgesDecidesWhatOpens(t *testing.T) {
	for _, administrator := range []bool{false, true} {
		h := newHouse(t, nil)
		for uid := range uint32(3) {
			h.wrongBy(t, uid)
		}
		if _, err := h.Acknowledge(t.Context(), h.caller, h.id(), false, ""); token.KindOf(err) != token.KindCardNotHeld {
			t.Errorf("a person, of a gate: %v, want CARD_NOT_HELD", err)
		}
		h.spend(t, token.SecretUnlockCode, token.VerdictNone, 3) // held, by its unlock code
		if _, err := h.Acknowledge(t.Context(), h.caller, h.id(), administrator, "x"); err != nil {
			t.Fatalf("administrator %t: %v", administrator, err)
		}
		_, err := h.sign(t, "9a")
		if want := map[bool]token.Kind{false: token.KindReinsertNeeded}[administrator]; token.KindOf(err) != want {
			t.Errorf("administrator %t: Sign: %v, want %q", administrator, err, want)
		}
	}
}

func TestAnInsertionIsRecordedOnlyWhereItOpensSomething(t *testing.T) {
	h := newHouse(t, nil)
	insert := func() string {
		t.Helper()
		h.events.take()
		if err := h.Inserted(t.Context(), h.id()); err != nil {
			t.Fatal(err)
		}
		return h.events.take()
	}
	if got := insert(); got != "" {
		t.Errorf("events %q after an insertion that opens nothing", got)
	}
	for uid := range uint32(3) {
		h.wrongBy(t, uid)
	}
	if got := insert(); !strings.Contains(got, "log-event") || !strings.Contains(got, "journal") {
		t.Errorf("events %q after an insertion that opens the gate, want a record and its slot", got)
	}
	if _, err := h.sign(t, "9a"); err != nil {
		t.Errorf("Sign: %v", err)
	}
}
