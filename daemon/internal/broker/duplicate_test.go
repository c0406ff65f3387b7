package broker_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/inkan-project/inkan/daemon/internal/audit"
	"github.com/inkan-project/inkan/daemon/internal/broker"
	"github.com/inkan-project/inkan/pcsc/virtual/pivcard"
	"github.com/inkan-project/inkan/token"
)

// copyIn puts a copy of the card into the second reader and waits until it is
// known. It returns where the copy keeps its truth.
func (h *house) copyIn(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(dir, os.DirFS(h.dir)); err != nil {
		t.Fatal(err)
	}
	card, err := pivcard.Open(pivcard.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = card.Close() })
	if err := h.reader.Insert(secondReader, card); err != nil {
		t.Fatal(err)
	}
	for {
		_, changed := h.cards.Changed()
		if r := h.cards.Readers(); len(r) == 2 && !r[1].Busy && r[1].Problem != nil {
			return dir
		}
		<-changed
	}
}

func wantNoPIN(t *testing.T, dirs ...string) {
	t.Helper()
	for _, dir := range dirs {
		if truth, err := pivcard.ReadTruth(dir); err != nil || truth.Verifies != 0 {
			t.Errorf("a card saw %d PINs, %v; want none", truth.Verifies, err)
		}
	}
}

func TestACardThatIsThereTwiceIsListedOnceAndAsksNobody(t *testing.T) {
	h := newHouse(t, nil)
	id := h.card().Identity.Card
	dir := h.copyIn(t)
	s := h.Status(t.Context())
	if len(s.Cards) != 1 || s.Cards[0].Identity.Card != id {
		t.Errorf("%d cards are listed, want one", len(s.Cards))
	}
	for _, r := range s.Readers {
		if r.Problem == nil || r.Problem.Kind != token.KindCardDuplicate {
			t.Errorf("reader %s has problem %v, want CARD_DUPLICATE", r.Name, r.Problem)
		}
	}
	if got := h.Missing(s); got != broker.LayerCard {
		t.Errorf("layer %d is missing, want that of the card", got)
	}
	failed := 0
	for _, step := range h.Diagnose(t.Context()) {
		if step.Result == broker.StepFailed && step.Layer == broker.LayerCard && step.Problem.Kind == token.KindCardDuplicate {
			failed++
		}
	}
	if failed != 2 {
		t.Errorf("doctor names %d readers, want both", failed)
	}
	if _, err := h.sign(t, "9a"); token.KindOf(err) != token.KindCardDuplicate {
		t.Errorf("Sign: %v, want CARD_DUPLICATE", err)
	}
	if _, err := h.VerifyPIN(t.Context(), h.caller, id); token.KindOf(err) != token.KindCardDuplicate {
		t.Errorf("VerifyPIN: %v, want CARD_DUPLICATE", err)
	}
	if len(h.agent.asked) != 0 || h.left() != 10 {
		t.Errorf("somebody was asked %d times, and %d tries are left", len(h.agent.asked), h.left())
	}
	wantNoPIN(t, h.dir, dir)
	if err := h.reader.Remove(secondReader); err != nil {
		t.Fatal(err)
	}
	for {
		_, changed := h.cards.Changed()
		if h.cards.Readers()[0].Problem == nil {
			break
		}
		<-changed
	}
	if _, err := h.sign(t, "9a"); err != nil {
		t.Errorf("Sign when the copy is out: %v", err)
	}
}

func TestACopyThatComesDuringThePromptStopsThePIN(t *testing.T) {
	h := newHouse(t, nil)
	var dir string
	h.agent.before = func() { dir = h.copyIn(t) }
	if _, err := h.sign(t, "9a"); token.KindOf(err) != token.KindCardDuplicate {
		t.Errorf("Sign: %v, want CARD_DUPLICATE", err)
	}
	if h.left() != 10 {
		t.Errorf("%d tries left, want all: nothing was begun", h.left())
	}
	wantNoPIN(t, h.dir, dir)
}

// The moment is after the card was found alone and before the PIN is sent: the
// try is counted already and stays so, and the PIN goes to nobody.
func TestACopyThatComesWhileTheCardIsUsedStopsThePIN(t *testing.T) {
	h := newHouse(t, nil)
	var dir string
	h.caller.Alive = func() error {
		if dir == "" {
			dir = h.copyIn(t)
		}
		return nil
	}
	_, err := h.sign(t, "9a")
	if token.KindOf(err) != token.KindCardDuplicate {
		t.Errorf("Sign: %v, want CARD_DUPLICATE", err)
	}
	if h.left() != 9 {
		t.Errorf("%d tries left, want 9", h.left())
	}
	wantNoPIN(t, h.dir, dir)
	records, _, err := h.log.List(t.Context(), audit.Filter{Newest: true, Limit: 1})
	if err != nil || len(records) == 0 {
		t.Fatalf("%d records, %v", len(records), err)
	}
	if last := records[0]; last.Code != string(token.KindCardDuplicate) {
		t.Errorf("the log ends with %+v, want CARD_DUPLICATE", last)
	}
}
