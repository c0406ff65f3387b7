package broker_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/inkan-project/inkan/daemon/internal/broker"
	"github.com/inkan-project/inkan/daemon/internal/cardowner"
	"github.com/inkan-project/inkan/daemon/internal/pinguard"
	"github.com/inkan-project/inkan/daemon/internal/prompt"
	"github.com/inkan-project/inkan/token"
)

// inOrder checks that names stand in this order; the two halves of a barrier
// ("journal|log") in any.
func inOrder(t *testing.T, got string, want ...string) {
	t.Helper()
	rest := strings.Fields(got)
	for _, step := range want {
		halves := strings.Split(step, "|")
		if len(rest) < len(halves) {
			t.Fatalf("events %q: %q is missing", got, step)
		}
		now := slices.Clone(rest[:len(halves)])
		slices.Sort(now)
		slices.Sort(halves)
		if !slices.Equal(now, halves) {
			t.Fatalf("events %q: want %q where %q is", got, step, now)
		}
		rest = rest[len(halves):]
	}
	if len(rest) > 0 {
		t.Fatalf("events %q: nothing should come after %v", got, want)
	}
}

func TestTheOrderOfASignature(t *testing.T) {
	h := newHouse(t, nil)
	if _, err := h.sign(t, "9a"); err != nil {
		t.Fatal(err)
	}
	inOrder(t, h.events.take(), "IDENTIFY", "journal|log-intent", "VERIFY", "SIGN", "journal|log-result")
	if _, err := h.sign(t, "9e"); err != nil {
		t.Fatal(err)
	}
	inOrder(t, h.events.take(), "IDENTIFY", "journal|log-intent", "SIGN", "journal|log-result")
}

func TestAWrongPINIsDurableBeforeItIsAnswered(t *testing.T) {
	h := newHouse(t, nil)
	h.agent.digits = "000000"
	_, err := h.sign(t, "9a")
	if e, ok := errors.AsType[*token.Error](err); !ok || e.Kind != token.KindPINWrong || e.Meta["tries_left"] != "9" {
		t.Fatalf("Sign: %v, want PIN_WRONG and 9 left", err)
	}
	inOrder(t, h.events.take(), "IDENTIFY", "journal|log-intent", "VERIFY", "journal|log-result")
}

func TestNothingIsSentOrReleasedWithoutItsRecord(t *testing.T) {
	tests := map[string]struct {
		fail              string
		verifies, results int
	}{
		"the debit cannot be written":  {"journal", 0, 0},
		"the intent cannot be written": {"log-intent", 0, 0},
		"the result cannot be written": {"log-result", 1, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, nil)
			h.events.fail = tt.fail
			sig, err := h.sign(t, "9a")
			kind := token.KindOf(err)
			if sig.Bytes != nil || kind != token.KindAuditUnavailable && kind != token.KindJournalUnavailable {
				t.Errorf("Sign: %v, %v; want nothing released", sig, err)
			}
			h.events.fail = ""
			if _, err := h.sign(t, "9e"); err == nil {
				t.Error("signed after a record could not be written")
			}
			asked := len(h.agent.asked)
			_, err = h.sign(t, "9a")
			if kind := token.KindOf(err); kind != token.KindAuditUnavailable && kind != token.KindJournalUnavailable {
				t.Errorf("the next signature: %v, want the cause again", err)
			}
			if len(h.agent.asked) != asked {
				t.Error("a person was asked for a PIN that cannot be used")
			}
			if h.left() < 9 {
				t.Errorf("left %d: a try was spent that cannot be recorded", h.left())
			}
			if got := h.truth(t).Verifies; got != tt.verifies {
				t.Errorf("the card saw %d VERIFYs, want %d", got, tt.verifies)
			}
		})
	}
}

func TestALostAnswerSpendsTheTryAndNothingIsSentAgain(t *testing.T) {
	h := newHouse(t, nil)
	h.events.fail = "VERIFY"
	_, err := h.sign(t, "9a")
	if token.KindOf(err) != token.KindPINNoVerdict || h.left() != 9 {
		t.Errorf("Sign: %v, %d left; want PIN_NO_VERDICT and 9", err, h.left())
	}
	if e, ok := errors.AsType[*token.Error](err); ok && e.Meta["status_word"] != "" {
		t.Errorf("a lost answer is told as %q", e.Meta["status_word"])
	}
	if got := h.truth(t).Verifies; got != 1 {
		t.Errorf("the card saw %d VERIFYs, want 1", got)
	}
	h.events.fail = ""
	if _, err := h.sign(t, "9a"); err != nil || h.left() != 10 {
		t.Errorf("the next signature: %v, %d left", err, h.left())
	}
}

func TestACallerThatIsGoneGetsNothing(t *testing.T) {
	for _, moment := range []string{"log-intent", "SIGN", "log-result"} {
		h := newHouse(t, nil)
		h.events.fail, h.events.at = moment, func() { h.alive = errFault }
		sig, err := h.sign(t, "9e")
		if sig.Bytes != nil || token.KindOf(err) != token.KindCallerGone {
			t.Errorf("gone at %s: %v, %v; want CALLER_GONE", moment, sig, err)
		}
	}
	h := newHouse(t, nil)
	h.alive = errFault
	if _, err := h.sign(t, "9a"); token.KindOf(err) != token.KindCallerGone || h.left() != 10 || h.truth(t).Verifies != 0 {
		t.Errorf("gone before the PIN was used: %v, %d left", err, h.left())
	}
}

func TestWhoMayGiveAPIN(t *testing.T) {
	program := func(change func(*broker.Config)) *house {
		h := newHouse(t, change)
		h.agent.source = prompt.SourceProgram
		return h
	}
	spend := func(h *house, n int) {
		for range n {
			a, err := h.guard.Debit(pinguard.Account{Card: h.card().Identity.Card, Secret: token.SecretPIN, Limit: 10, OnCard: token.Tries{}}, pinguard.Who{Free: true}, pinguard.AuditMark{})
			if err != nil {
				t.Fatal(err)
			}
			if err := h.guard.Settle(a, token.Verdict{Kind: token.VerdictWrong}, pinguard.AuditMark{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	h := program(nil)
	if _, err := h.sign(t, "9a"); token.KindOf(err) != token.KindPINSourceRefused {
		t.Errorf("a program, not allowed: %v", err)
	}
	h = program(func(c *broker.Config) { c.ProgramPINs = true })
	if _, err := h.sign(t, "9a"); err != nil {
		t.Errorf("a program, allowed: %v", err)
	}
	spend(h, 7)
	if _, err := h.sign(t, "9a"); token.KindOf(err) != token.KindPINSourceRefused {
		t.Errorf("a program with three tries left: %v", err)
	}
	h.agent.source = prompt.SourcePrompt
	if _, err := h.sign(t, "9a"); err != nil {
		t.Errorf("the trusted prompt with three tries left: %v", err)
	}
	h = program(func(c *broker.Config) { c.Virtual = true })
	spend(h, 9)
	if _, err := h.sign(t, "9a"); err != nil {
		t.Errorf("--virtual lifts the limits: %v", err)
	}
}

func TestTriesSpentElsewhereAreNoticedAndThePersonIsAskedAgain(t *testing.T) {
	h := newHouse(t, nil)
	for range 2 { // it is known now how many tries the card has when it is full
		if _, err := h.sign(t, "9a"); err != nil {
			t.Fatal(err)
		}
	}
	h.events.take()
	h.agent.asked = nil
	shown := 0
	h.agent.before = func() {
		if shown++; shown > 1 {
			return
		}
		// Another program enters three wrong PINs while the person types.
		h.elsewhere(t, 3)
	}
	if _, err := h.sign(t, "9a"); err != nil {
		t.Fatal(err)
	}
	if n, _ := h.agent.asked[len(h.agent.asked)-1].Tries.Count(); len(h.agent.asked) != 2 || n != 7 {
		t.Errorf("asked %d times, at last with %d tries; want twice and 7", len(h.agent.asked), n)
	}
	if got := h.events.take(); !strings.Contains(got, "log-event") {
		t.Errorf("events %q: the use elsewhere was not recorded", got)
	}
}

// elsewhere spends tries behind the daemon's back.
func (h *house) elsewhere(t *testing.T, tries int) {
	t.Helper()
	err := h.cards.Use(t.Context(), h.card().Identity.Card, func(ctx context.Context, l cardowner.Lease) error {
		for range tries {
			page := make([]byte, token.PINPageMin)
			copy(page[token.PINHeadroom:], "000000")
			pin, err := token.NewPIN(page, 6, nil)
			if err != nil {
				return err
			}
			if _, err := l.Verify(ctx, pin, token.NewAttempt(h.card().Identity.Card, token.SecretPIN, 1)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestAFaultySignatureIsNotReleased(t *testing.T) {
	h := newHouse(t, func(c *broker.Config) { c.Register = otherKey{} })
	sig, err := h.sign(t, "9a")
	if sig.Bytes != nil || token.KindOf(err) != token.KindSignatureCheckFailed {
		t.Errorf("Sign: %v, %v; want SIGNATURE_CHECK_FAILED", sig, err)
	}
}
