package cardowner_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inkan-project/inkan/daemon/internal/cardowner"
	"github.com/inkan-project/inkan/pcsc"
	"github.com/inkan-project/inkan/pcsc/virtual"
	"github.com/inkan-project/inkan/pcsc/virtual/pivcard"
	"github.com/inkan-project/inkan/token"
	"github.com/inkan-project/inkan/token/cardprofile"
	"github.com/inkan-project/inkan/token/piv"
)

const idle = 5 * time.Second

// newCard makes a virtual card with elliptic-curve keys only: they are quick.
func newCard(t *testing.T) *pivcard.Card {
	t.Helper()
	card, err := pivcard.Open(pivcard.Options{Dir: t.TempDir(), Keys: map[pivcard.Slot]pivcard.KeyType{
		pivcard.SlotAuthentication: pivcard.P256, pivcard.SlotCardAuth: pivcard.P256,
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = card.Close() })
	return card
}

// start runs an Owner over these readers until the test ends.
func start(t *testing.T, system pcsc.System, timeout time.Duration) *cardowner.Owner {
	t.Helper()
	return startWith(t, system, timeout, false)
}

func startWith(t *testing.T, system pcsc.System, timeout time.Duration, hold bool) *cardowner.Owner {
	t.Helper()
	return startAdmitting(t, system, timeout, hold, nil)
}

func startAdmitting(t *testing.T, system pcsc.System, timeout time.Duration, hold bool, admit func(token.Identity) error) *cardowner.Owner {
	t.Helper()
	profiles, err := cardprofile.Shipped()
	if err != nil {
		t.Fatal(err)
	}
	o := cardowner.New(cardowner.Config{
		System: system,
		Applications: []cardowner.Application{{
			Name:    "PIV",
			Profile: func(atr []byte, card token.CardID) token.Profile { return profiles.For("PIV", atr, card) },
			Open:    func(c cardowner.Connection, p token.Profile) token.Token { return piv.Open(c, piv.FromProfile(p)) },
		}},
		Idle: idle, Hold: hold, Retry: time.Second, CommandTimeout: timeout, Logger: slog.New(slog.DiscardHandler),
		Admit: admit,
		Met:   func(context.Context, token.Identity, []token.Key) error { return nil },
	})
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := o.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(func() { stop(); wg.Wait() })
	return o
}

// await waits until the readers are as wanted.
func await(t *testing.T, o *cardowner.Owner, wanted func([]cardowner.Reader) bool) []cardowner.Reader {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for {
		_, changed := o.Changed()
		if readers := o.Readers(); wanted(readers) {
			return readers
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("readers never became as wanted: %+v", o.Readers())
		}
	}
}

func cardIn(i int) func([]cardowner.Reader) bool {
	return func(r []cardowner.Reader) bool { return len(r) > i && r[i].Card != nil }
}

func noCard(r []cardowner.Reader) bool { return len(r) > 0 && r[0].Card == nil && !r[0].Present }

func pin(t *testing.T, digits string) *token.PIN {
	t.Helper()
	page := make([]byte, token.PINPageMin)
	copy(page[token.PINHeadroom:], digits)
	p, err := token.NewPIN(page, len(digits), nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestACardIsIdentifiedWhenItIsInsertedAndForgottenWhenItIsPulled(t *testing.T) {
	system := virtual.New(virtual.Options{})
	o := start(t, system, time.Second)
	await(t, o, noCard)
	if err := system.Insert(virtual.DefaultReader, newCard(t)); err != nil {
		t.Fatal(err)
	}
	r := await(t, o, cardIn(0))[0]
	if n, known := r.Card.OnCard.Count(); !r.Card.Virtual || len(r.Card.Keys) != 2 || n != 10 || !known {
		t.Errorf("card %+v, want a virtual one with two keys and ten tries", r.Card)
	}
	if err := system.Remove(virtual.DefaultReader); err != nil {
		t.Fatal(err)
	}
	await(t, o, noCard)
	err := o.Use(t.Context(), r.Card.Identity.Card, nil)
	if token.KindOf(err) != token.KindCardNotFound {
		t.Errorf("Use without the card: %v, want CARD_NOT_FOUND", err)
	}
}

func TestALoginNeverOutlivesAUse(t *testing.T) {
	system := virtual.New(virtual.Options{})
	if err := system.Insert(virtual.DefaultReader, newCard(t)); err != nil {
		t.Fatal(err)
	}
	o := start(t, system, time.Second)
	card := await(t, o, cardIn(0))[0].Card
	key, digest := card.Keys[0], make([]byte, 32)
	sign := func(ctx context.Context, l cardowner.Lease) error {
		_, err := l.Sign(ctx, key, token.ECDSASHA256, digest)
		return err
	}
	err := o.Use(t.Context(), card.Identity.Card, func(ctx context.Context, l cardowner.Lease) error {
		v, err := l.Verify(ctx, pin(t, pivcard.DemoPIN), token.NewAttempt(card.Identity.Card, token.SecretPIN, 1))
		if err != nil || v.Kind != token.VerdictOK {
			t.Errorf("Verify: %v, %v", v, err)
		}
		return sign(ctx, l)
	})
	if err != nil {
		t.Fatalf("signing after the PIN: %v", err)
	}
	began := false
	err = o.Use(t.Context(), card.Identity.Card, func(ctx context.Context, l cardowner.Lease) error {
		began = true
		return sign(ctx, l)
	})
	if !began || err == nil {
		t.Errorf("another use began: %t, and signed with the PIN of the one before: %t (%v)", began, err == nil, err)
	}
}

func TestACallThatHasEndedTouchesNoCard(t *testing.T) {
	system := virtual.New(virtual.Options{})
	if err := system.Insert(virtual.DefaultReader, newCard(t)); err != nil {
		t.Fatal(err)
	}
	o := start(t, system, time.Second)
	card := await(t, o, cardIn(0))[0].Card
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	called := false
	err := o.Use(ctx, card.Identity.Card, func(context.Context, cardowner.Lease) error { called = true; return nil })
	if called || token.KindOf(err) != token.KindCallEnded {
		t.Errorf("called %t, error %v; want CALL_ENDED and no call", called, err)
	}
}

func TestASwappedCardIsNotUsedForTheOther(t *testing.T) {
	system := virtual.New(virtual.Options{})
	if err := system.Insert(virtual.DefaultReader, newCard(t)); err != nil {
		t.Fatal(err)
	}
	o := start(t, system, time.Second)
	old := await(t, o, cardIn(0))[0].Card.Identity.Card
	if err := system.Remove(virtual.DefaultReader); err != nil {
		t.Fatal(err)
	}
	if err := system.Insert(virtual.DefaultReader, newCard(t)); err != nil {
		t.Fatal(err)
	}
	err := o.Use(t.Context(), old, func(context.Context, cardowner.Lease) error {
		t.Error("the other card was leased")
		return nil
	})
	switch token.KindOf(err) {
	case token.KindCardChanged, token.KindCardNotFound, token.KindCardRemoved:
	default:
		t.Errorf("Use: %v", err)
	}
	await(t, o, func(r []cardowner.Reader) bool { return cardIn(0)(r) && r[0].Card.Identity.Card != old })
}

func TestACardIsHeldWhileIdleAndThenLetGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		system := virtual.New(virtual.Options{})
		if err := system.Insert(virtual.DefaultReader, newCard(t)); err != nil {
			t.Fatal(err)
		}
		o := start(t, system, time.Second)
		synctest.Wait()
		card := await(t, o, cardIn(0))[0].Card
		use := func() {
			if err := o.Use(t.Context(), card.Identity.Card, func(context.Context, cardowner.Lease) error { return nil }); err != nil {
				t.Errorf("Use: %v", err)
			}
		}
		use()
		if _, err := system.Connect(t.Context(), virtual.DefaultReader); !errors.Is(err, pcsc.ErrSharing) {
			t.Errorf("another program right after a use: %v, want ErrSharing", err)
		}
		<-time.After(idle - time.Millisecond)
		use() // begins the idle time anew
		<-time.After(idle - time.Millisecond)
		if _, err := system.Connect(t.Context(), virtual.DefaultReader); !errors.Is(err, pcsc.ErrSharing) {
			t.Errorf("another program within the idle time: %v, want ErrSharing", err)
		}
		<-time.After(2 * time.Millisecond)
		synctest.Wait()
		conn, err := system.Connect(t.Context(), virtual.DefaultReader)
		if err != nil {
			t.Fatalf("another program after the idle time: %v", err)
		}
		if err := o.Use(t.Context(), card.Identity.Card, nil); token.KindOf(err) != token.KindReaderInUse {
			t.Errorf("Use while another program has the card: %v, want READER_IN_USE", err)
		}
		if err := conn.Disconnect(pcsc.Reset); err != nil {
			t.Fatal(err)
		}
		use()
	})
}

func TestACardThatIsHeldForGoodIsNeverLetGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		system := virtual.New(virtual.Options{})
		if err := system.Insert(virtual.DefaultReader, newCard(t)); err != nil {
			t.Fatal(err)
		}
		o := startWith(t, system, time.Second, true)
		synctest.Wait()
		await(t, o, cardIn(0))
		<-time.After(100 * idle)
		if _, err := system.Connect(t.Context(), virtual.DefaultReader); !errors.Is(err, pcsc.ErrSharing) {
			t.Errorf("another program: %v, want ErrSharing", err)
		}
	})
}

func TestAStuckCardDelaysNoOther(t *testing.T) {
	stuck := make(chan struct{})
	defer close(stuck)
	var jam sync.Map
	system := virtual.New(virtual.Options{
		Readers: []string{"a", "b"},
		Before: func(reader string, _ []byte) error {
			if _, ok := jam.Load(reader); ok {
				<-stuck
			}
			return nil
		},
	})
	for _, name := range []string{"a", "b"} {
		if err := system.Insert(name, newCard(t)); err != nil {
			t.Fatal(err)
		}
	}
	o := start(t, system, 50*time.Millisecond)
	await(t, o, cardIn(0))
	readers := await(t, o, cardIn(1))
	jam.Store("a", true)
	var wg sync.WaitGroup
	wg.Go(func() {
		err := o.Use(t.Context(), readers[0].Card.Identity.Card, nil)
		if token.KindOf(err) != token.KindCardSilent {
			t.Errorf("Use of the stuck card: %v, want CARD_SILENT", err)
		}
	})
	for range 20 {
		err := o.Use(t.Context(), readers[1].Card.Identity.Card, func(context.Context, cardowner.Lease) error { return nil })
		if err != nil {
			t.Errorf("Use of the other card: %v", err)
		}
	}
	wg.Wait()
}

func TestAnUnknownCardIsReportedAndLeftAlone(t *testing.T) {
	system := virtual.New(virtual.Options{})
	strange := &strangeCard{}
	if err := system.Insert(virtual.DefaultReader, strange); err != nil {
		t.Fatal(err)
	}
	o := start(t, system, time.Second)
	r := await(t, o, func(r []cardowner.Reader) bool { return len(r) == 1 && r[0].Problem != nil })[0]
	if r.Card != nil || r.Problem.Kind != token.KindCardUnknown || !r.Present {
		t.Errorf("reader %+v, want a present card with problem CARD_UNKNOWN", r)
	}
	if n := strange.commands(); n > 3 {
		t.Errorf("an unknown card was sent %d commands", n)
	}
}

func TestACardThatIsNotAdmittedIsOnlyIdentified(t *testing.T) {
	const getData = 0xCB // SP 800-73-5 part 2 section 3.1.2
	var objects atomic.Int32
	system := virtual.New(virtual.Options{Before: func(_ string, command []byte) error {
		if command[1] == getData {
			objects.Add(1)
		}
		return nil
	}})
	if err := system.Insert(virtual.DefaultReader, newCard(t)); err != nil {
		t.Fatal(err)
	}
	o := startAdmitting(t, system, time.Second, false, func(id token.Identity) error {
		if !id.Virtual {
			t.Error("the card in a virtual reader is not known as virtual")
		}
		return token.NewError(token.KindVirtualRefused)
	})
	r := await(t, o, func(r []cardowner.Reader) bool { return len(r) == 1 && r[0].Problem != nil })[0]
	if r.Card != nil || r.Problem.Kind != token.KindVirtualRefused {
		t.Errorf("reader %+v, want a card with problem VIRTUAL_REFUSED", r)
	}
	if n := objects.Load(); n > 2 { // the CHUID, once more with extended length
		t.Errorf("%d objects were read", n)
	}
}

// strangeCard knows no command.
type strangeCard struct {
	mu sync.Mutex // guards n
	n  int
}

func (c *strangeCard) ATR() []byte { return []byte{0x3B, 0x00} }
func (c *strangeCard) Reset()      {}

func (c *strangeCard) Transmit([]byte) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	return []byte{0x6D, 0x00} // ISO/IEC 7816-4 table 6: instruction not supported
}

func (c *strangeCard) commands() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}
