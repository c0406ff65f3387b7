package cardowner_test

import (
	"context"
	"testing"
	"time"

	"github.com/inkan-project/inkan/daemon/internal/cardowner"
	"github.com/inkan-project/inkan/pcsc/virtual"
	"github.com/inkan-project/inkan/token"
)

// The reader is idle, so that each call could as well be taken: one that has
// ended must lose every time.
func TestACallThatHasEndedLosesEveryTime(t *testing.T) {
	system := virtual.New(virtual.Options{})
	if err := system.Insert(virtual.DefaultReader, newCard(t)); err != nil {
		t.Fatal(err)
	}
	o := start(t, system, time.Second)
	id := await(t, o, cardIn(0))[0].Card.Identity.Card
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	called := 0
	for range 100 {
		err := o.Use(ctx, id, func(context.Context, cardowner.Lease) error { called++; return nil })
		if token.KindOf(err) != token.KindCallEnded {
			t.Fatalf("Use: %v, want CALL_ENDED", err)
		}
	}
	if called != 0 {
		t.Errorf("%d of 100 ended calls got the card", called)
	}
}

func TestACallThatEndsMeanwhileIsFinished(t *testing.T) {
	system := virtual.New(virtual.Options{})
	if err := system.Insert(virtual.DefaultReader, newCard(t)); err != nil {
		t.Fatal(err)
	}
	o := start(t, system, time.Second)
	card := await(t, o, cardIn(0))[0].Card
	ctx, cancel := context.WithCancel(t.Context())
	prove := proves(t, card.Identity.Card)
	err := o.Use(ctx, card.Identity.Card, func(ctx context.Context, l cardowner.Lease) error {
		cancel() // the caller's patience ends before the first command
		if err := prove(ctx, l); err != nil {
			return err
		}
		_, err := l.Sign(ctx, card.Keys[0], token.ECDSASHA256, make([]byte, 32))
		return err
	})
	if err != nil {
		t.Errorf("Use: %v; the card was left half-way", err)
	}
}
