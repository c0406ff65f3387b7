package cardowner_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inkan-project/inkan/daemon/internal/cardowner"
	"github.com/inkan-project/inkan/pcsc"
	"github.com/inkan-project/inkan/pcsc/virtual"
	"github.com/inkan-project/inkan/pcsc/virtual/pivcard"
	"github.com/inkan-project/inkan/token"
	"github.com/inkan-project/inkan/token/piv"
)

// proves sends the right PIN.
func proves(t *testing.T, card token.CardID) func(context.Context, cardowner.Lease) error {
	return func(ctx context.Context, l cardowner.Lease) error {
		v, err := l.Verify(ctx, pin(t, pivcard.DemoPIN), token.NewAttempt(card, token.SecretPIN, 1))
		if err == nil && v.Kind != token.VerdictOK {
			err = errors.New("the PIN is not right")
		}
		return err
	}
}

// proved asks as another program would whether the card takes the PIN for
// proved, and lets the card go as it is.
func proved(t *testing.T, system pcsc.System, also func(context.Context, token.Token) error) bool {
	t.Helper()
	conn, err := system.Connect(t.Context(), virtual.DefaultReader)
	if err != nil {
		t.Fatalf("another program: %v", err)
	}
	defer func() { _ = conn.Disconnect(pcsc.Leave) }()
	tok := piv.Open(conn, piv.Options{Extended: true, EmptyVerifySafe: true})
	if _, err := tok.Identify(t.Context()); err != nil {
		t.Fatal(err)
	}
	if also != nil {
		if err := also(t.Context(), tok); err != nil {
			t.Fatal(err)
		}
	}
	_, yes, err := tok.Tries(t.Context(), token.SecretPIN)
	if err != nil {
		t.Fatal(err)
	}
	return yes
}

func TestALoginThatAnotherProgramLeftIsNotUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		system := virtual.New(virtual.Options{})
		if err := system.Insert(virtual.DefaultReader, newCard(t)); err != nil {
			t.Fatal(err)
		}
		o := start(t, system, time.Second)
		card := await(t, o, cardIn(0))[0].Card
		time.Sleep(idle + time.Second) // the card is let go
		synctest.Wait()
		login := func(ctx context.Context, tok token.Token) error {
			return proves(t, card.Identity.Card)(ctx, cardowner.Lease{Token: tok})
		}
		if !proved(t, system, login) {
			t.Fatal("the other program is not logged in: the test proves nothing")
		}
		err := o.Use(t.Context(), card.Identity.Card, func(ctx context.Context, l cardowner.Lease) error {
			if _, err := l.Sign(ctx, card.Keys[0], token.ECDSASHA256, make([]byte, 32)); err == nil {
				t.Error("a use could sign with the PIN that another program had sent")
			}
			return nil
		})
		if err != nil {
			t.Errorf("Use: %v", err)
		}
	})
}

// sticky is a card whose login outlives a reset.
type sticky struct{ virtual.Card }

func (sticky) Reset() {}

func TestACardThatKeepsItsLoginOverAResetIsNotUsed(t *testing.T) {
	system := virtual.New(virtual.Options{})
	if err := system.Insert(virtual.DefaultReader, sticky{newCard(t)}); err != nil {
		t.Fatal(err)
	}
	o := start(t, system, time.Second)
	card := await(t, o, cardIn(0))[0].Card
	if err := o.Use(t.Context(), card.Identity.Card, proves(t, card.Identity.Card)); err != nil {
		t.Fatal(err)
	}
	err := o.Use(t.Context(), card.Identity.Card, func(context.Context, cardowner.Lease) error {
		t.Error("the next use got the card with the PIN proved")
		return nil
	})
	if token.KindOf(err) != token.KindCardKeepsLogin {
		t.Errorf("Use: %v, want CARD_KEEPS_LOGIN", err)
	}
}

// spied is readers whose connections can refuse to reset the card.
type spied struct {
	pcsc.System
	mu     sync.Mutex // guards the fields that follow
	refuse bool
	letGo  []pcsc.Disposition
}

type spiedCard struct {
	pcsc.Card
	s *spied
}

func newSpied(t *testing.T) *spied {
	t.Helper()
	system := virtual.New(virtual.Options{})
	if err := system.Insert(virtual.DefaultReader, newCard(t)); err != nil {
		t.Fatal(err)
	}
	return &spied{System: system}
}

func (s *spied) Connect(ctx context.Context, reader string) (pcsc.Card, error) {
	c, err := s.System.Connect(ctx, reader)
	if err != nil {
		return nil, err
	}
	return spiedCard{c, s}, nil
}

func (c spiedCard) Reset(ctx context.Context) error {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if c.s.refuse {
		return pcsc.ErrReset
	}
	return c.Card.Reset(ctx)
}

func (c spiedCard) Disconnect(d pcsc.Disposition) error {
	c.s.mu.Lock()
	c.s.letGo = append(c.s.letGo, d)
	c.s.mu.Unlock()
	return c.Card.Disconnect(d)
}

func (s *spied) refuses(yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = yes
}

func TestACardThatCannotBeResetAfterAUseIsLetGoWithoutItsLogin(t *testing.T) {
	s := newSpied(t)
	o := start(t, s, time.Second)
	id := await(t, o, cardIn(0))[0].Card.Identity.Card
	prove := proves(t, id)
	err := o.Use(t.Context(), id, func(ctx context.Context, l cardowner.Lease) error {
		s.refuses(true)
		return prove(ctx, l)
	})
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	if len(s.letGo) != 1 || s.letGo[0] != pcsc.Reset {
		t.Errorf("the card was let go as %v, want once, with a reset", s.letGo)
	}
	s.mu.Unlock()
	if proved(t, s.System, nil) {
		t.Error("the next program finds the PIN proved")
	}
}

func TestACardThatCannotBeResetBeforeAUseIsNotUsed(t *testing.T) {
	s := newSpied(t)
	o := start(t, s, time.Second)
	id := await(t, o, cardIn(0))[0].Card.Identity.Card
	_ = o.Use(t.Context(), id, func(context.Context, cardowner.Lease) error { s.refuses(true); return nil }) // is let go
	err := o.Use(t.Context(), id, func(context.Context, cardowner.Lease) error {
		t.Error("the card was used")
		return nil
	})
	if err == nil {
		t.Error("Use of a card that cannot be reset gives no error")
	}
}

// A use that waited for its turn while the card was swapped must not get the
// other card, although that one is in order.
func TestAUseThatWaitedIsNotGivenTheCardThatCameMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		system := virtual.New(virtual.Options{})
		if err := system.Insert(virtual.DefaultReader, newCard(t)); err != nil {
			t.Fatal(err)
		}
		o := start(t, system, time.Second)
		old := await(t, o, cardIn(0))[0].Card.Identity.Card
		free := make(chan struct{})
		var uses sync.WaitGroup
		uses.Go(func() {
			_ = o.Use(t.Context(), old, func(context.Context, cardowner.Lease) error { <-free; return nil })
		})
		synctest.Wait()
		uses.Go(func() {
			err := o.Use(t.Context(), old, func(context.Context, cardowner.Lease) error {
				t.Error("the other card was leased")
				return nil
			})
			if token.KindOf(err) != token.KindCardNotFound {
				t.Errorf("Use: %v, want CARD_NOT_FOUND", err)
			}
		})
		synctest.Wait() // it stands in the queue
		if err := errors.Join(system.Remove(virtual.DefaultReader), system.Insert(virtual.DefaultReader, newCard(t))); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		close(free)
		uses.Wait()
	})
}

func TestTheIdentityIsReadFromTheCardBeforeEachUse(t *testing.T) {
	// A reader that does not tell that the card was swapped.
	mute := &exchanged{}
	mute.card = newCard(t)
	system := virtual.New(virtual.Options{})
	if err := system.Insert(virtual.DefaultReader, mute); err != nil {
		t.Fatal(err)
	}
	o := start(t, system, time.Second)
	old := await(t, o, cardIn(0))[0].Card.Identity.Card
	mute.put(newCard(t))
	err := o.Use(t.Context(), old, func(context.Context, cardowner.Lease) error {
		t.Error("the other card was leased")
		return nil
	})
	if token.KindOf(err) != token.KindCardChanged {
		t.Errorf("Use: %v, want CARD_CHANGED", err)
	}
}

// exchanged is one card and then another, with the same ATR.
type exchanged struct {
	mu   sync.Mutex // guards card
	card virtual.Card
}

func (e *exchanged) now() virtual.Card {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.card
}

func (e *exchanged) put(c virtual.Card) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.card = c
}

func (e *exchanged) ATR() []byte              { return e.now().ATR() }
func (e *exchanged) Reset()                   { e.now().Reset() }
func (e *exchanged) Transmit(c []byte) []byte { return e.now().Transmit(c) }

func TestACardInUseKeepsNoOtherReader(t *testing.T) {
	system := virtual.New(virtual.Options{Readers: []string{"a", "b"}})
	for _, name := range []string{"a", "b"} {
		if err := system.Insert(name, newCard(t)); err != nil {
			t.Fatal(err)
		}
	}
	o := start(t, system, time.Second)
	await(t, o, cardIn(0))
	readers := await(t, o, cardIn(1))
	free, other := make(chan struct{}), make(chan error, 1)
	err := o.Use(t.Context(), readers[0].Card.Identity.Card, func(context.Context, cardowner.Lease) error {
		go func() {
			other <- o.Use(context.Background(), readers[1].Card.Identity.Card,
				func(context.Context, cardowner.Lease) error { return nil })
			close(free)
		}()
		select {
		case <-free:
			return nil
		case <-time.After(10 * time.Second):
			return errors.New("the other reader waits for this one")
		}
	})
	if err := errors.Join(err, <-other); err != nil {
		t.Error(err)
	}
}
