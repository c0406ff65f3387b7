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

// slow is a reader that hangs when it is to reset a card.
type slow struct {
	*virtual.System
	hangs atomic.Bool
}

type slowCard struct {
	pcsc.Card
	s *slow
}

func (s *slow) Connect(ctx context.Context, reader string) (pcsc.Card, error) {
	c, err := s.System.Connect(ctx, reader)
	if err != nil {
		return nil, err
	}
	return slowCard{c, s}, nil
}

func (c slowCard) Reset(ctx context.Context) error {
	if c.s.hangs.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	return c.Card.Reset(ctx)
}

func TestAResetThatHangsEndsWithItsTime(t *testing.T) {
	const patience = 10 * time.Second
	synctest.Test(t, func(t *testing.T) {
		s := &slow{System: virtual.New(virtual.Options{})}
		if err := s.Insert(virtual.DefaultReader, newCard(t)); err != nil {
			t.Fatal(err)
		}
		o := start(t, s, patience)
		id := await(t, o, cardIn(0))[0].Card.Identity.Card
		begin := time.Now()
		err := o.Use(t.Context(), id, func(context.Context, cardowner.Lease) error {
			s.hangs.Store(true)
			return nil
		})
		if took := time.Since(begin); err != nil || took != patience {
			t.Errorf("Use: %v after %v, want no error after %v", err, took, patience)
		}
	})
}
