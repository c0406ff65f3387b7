package cardowner_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inkan-project/inkan/daemon/internal/cardowner"
	"github.com/inkan-project/inkan/pcsc"
	"github.com/inkan-project/inkan/pcsc/virtual"
	"github.com/inkan-project/inkan/token"
)

// jammed is a reader whose card stops answering when it is told so.
type jammed struct {
	*virtual.System
	silent atomic.Bool
	free   chan struct{}
}

func newJammed(t *testing.T) *jammed {
	t.Helper()
	j := &jammed{free: make(chan struct{})}
	j.System = virtual.New(virtual.Options{Before: func(string, []byte) error {
		if j.silent.Load() {
			<-j.free
		}
		return nil
	}})
	if err := j.Insert(virtual.DefaultReader, newCard(t)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { close(j.free) })
	return j
}

func TestASilentCardIsWaitedForOnce(t *testing.T) {
	const patience = 10 * time.Second // with one command
	synctest.Test(t, func(t *testing.T) {
		j := newJammed(t)
		o := start(t, j, patience)
		id := await(t, o, cardIn(0))[0].Card.Identity.Card
		begin := time.Now()
		err := o.Use(t.Context(), id, func(ctx context.Context, l cardowner.Lease) error {
			j.silent.Store(true)
			_, _, err := l.Tries(ctx, token.SecretPIN)
			return err
		})
		if took := time.Since(begin); token.KindOf(err) != token.KindCardSilent || took != patience {
			t.Errorf("Use: %v after %v, want CARD_SILENT after %v", err, took, patience)
		}
	})
}

func TestAStopDoesNotWaitForASilentCard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJammed(t)
		var begin time.Time
		used := make(chan error, 1)
		t.Cleanup(func() { // when start has stopped the Owner
			if took := time.Since(begin); took > 10*time.Second {
				t.Errorf("Run ended after %v, want seconds", took)
			}
			if err := <-used; err == nil {
				t.Error("Use of a card that never answered gives no error")
			}
		})
		o := start(t, j, time.Hour)
		id := await(t, o, cardIn(0))[0].Card.Identity.Card
		j.silent.Store(true)
		go func() { used <- o.Use(context.Background(), id, nil) }()
		synctest.Wait()
		begin = time.Now()
	})
}

// taken is a reader whose card another program has at first.
type taken struct {
	pcsc.System
	times atomic.Int32
}

func (s *taken) Connect(ctx context.Context, reader string) (pcsc.Card, error) {
	if s.times.Add(-1) >= 0 {
		return nil, pcsc.ErrSharing
	}
	return s.System.Connect(ctx, reader)
}

func TestACardThatAnotherProgramHasIsLookedAtAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		system := virtual.New(virtual.Options{})
		if err := system.Insert(virtual.DefaultReader, newCard(t)); err != nil {
			t.Fatal(err)
		}
		s := &taken{System: system}
		s.times.Store(3)
		await(t, start(t, s, time.Second), cardIn(0))
	})
}
