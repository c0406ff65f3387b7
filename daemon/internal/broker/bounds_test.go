package broker_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inkan-project/inkan/daemon/internal/broker"
	"github.com/inkan-project/inkan/daemon/internal/cardowner"
	"github.com/inkan-project/inkan/token"
)

func TestAPersonIsNotAskedAgainWithoutEnd(t *testing.T) {
	h := newHouse(t, nil)
	h.agent.before = func() { h.elsewhere(t, 1) } // each time while the person types
	_, err := h.sign(t, "9a")
	if err == nil || token.KindOf(err) == token.KindCardLocked || len(h.agent.asked) > 5 {
		t.Errorf("Sign: %v after %d questions, want an end after five at most", err, len(h.agent.asked))
	}
	if got := h.truth(t).Verifies; got != len(h.agent.asked) {
		t.Errorf("the card saw %d VERIFYs, %d were sent elsewhere", got, len(h.agent.asked))
	}
}

// unsettled is a reader that hangs with the card it was given.
type unsettled struct{ broker.Cards }

func (unsettled) Readers() []cardowner.Reader { return nil }

func (unsettled) Settle(ctx context.Context) { <-ctx.Done() }

func TestACardThatIsBeingLookedAtIsNotWaitedForWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.New(broker.Config{Cards: unsettled{}, Now: time.Now})
		begin := time.Now()
		_, _, err := b.Key(t.Context(), "piv-00.00")
		if took := time.Since(begin); token.KindOf(err) != token.KindKeyNotFound || took > 10*time.Second {
			t.Errorf("Key: %v after %v, want KEY_NOT_FOUND within seconds", err, took)
		}
	})
}
