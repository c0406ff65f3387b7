package cardowner_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/inkan-project/inkan/daemon/internal/cardowner"
	"github.com/inkan-project/inkan/pcsc/virtual"
	"github.com/inkan-project/inkan/pcsc/virtual/pivcard"
	"github.com/inkan-project/inkan/token"
)

// twins makes a card and a copy of it, and says where each keeps its truth.
func twins(t *testing.T) (cards [2]*pivcard.Card, dirs [2]string) {
	t.Helper()
	dirs = [2]string{filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")}
	options := pivcard.Options{Dir: dirs[0], Keys: map[pivcard.Slot]pivcard.KeyType{pivcard.SlotAuthentication: pivcard.P256}}
	original, err := pivcard.Open(options)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(original.Close(), os.CopyFS(dirs[1], os.DirFS(dirs[0]))); err != nil {
		t.Fatal(err)
	}
	for i, dir := range dirs {
		options.Dir = dir
		if cards[i], err = pivcard.Open(options); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cards[i].Close() })
	}
	return cards, dirs
}

func verifies(t *testing.T, dirs [2]string) (n int) {
	t.Helper()
	for _, dir := range dirs {
		truth, err := pivcard.ReadTruth(dir)
		if err != nil {
			t.Fatal(err)
		}
		n += truth.Verifies
	}
	return n
}

func insert(t *testing.T, system *virtual.System, reader string, card virtual.Card) {
	t.Helper()
	if err := system.Insert(reader, card); err != nil {
		t.Fatal(err)
	}
}

// twice says that both readers show the problem and nobody is busy.
func twice(r []cardowner.Reader) bool {
	for _, one := range r {
		if one.Busy || one.Problem == nil || one.Problem.Kind != token.KindCardDuplicate {
			return false
		}
	}
	return len(r) == 2
}

func once(i int) func(r []cardowner.Reader) bool {
	return func(r []cardowner.Reader) bool {
		return len(r) == 2 && r[i].Card != nil && r[i].Problem == nil && !r[1-i].Present
	}
}

func TestTwoCardsOfOneIdentityAreNotUsedUntilOneIsOut(t *testing.T) {
	system := virtual.New(virtual.Options{Readers: []string{"a", "b"}})
	cards, dirs := twins(t)
	insert(t, system, "a", cards[0])
	o := start(t, system, time.Second)
	id := await(t, o, once(0))[0].Card.Identity.Card
	for round := range 2 { // one is taken out, and another time the other
		insert(t, system, []string{"b", "a"}[round], cards[1-round])
		for _, r := range await(t, o, twice) {
			if r.Card == nil || r.Problem.Meta["readers"] != "a, b" || r.Problem.Meta["card"] != string(id) {
				t.Errorf("reader %s: card %v, problem %v", r.Name, r.Card, r.Problem.Meta)
			}
		}
		if _, err := o.Card(id); token.KindOf(err) != token.KindCardDuplicate {
			t.Errorf("Card: %v, want CARD_DUPLICATE", err)
		}
		err := o.Use(t.Context(), id, func(context.Context, cardowner.Lease) error {
			t.Error("a card was leased while two claim its identity")
			return nil
		})
		if token.KindOf(err) != token.KindCardDuplicate {
			t.Errorf("Use: %v, want CARD_DUPLICATE", err)
		}
		if err := system.Remove([]string{"a", "b"}[round]); err != nil {
			t.Fatal(err)
		}
		await(t, o, once(1-round))
		if err := o.Use(t.Context(), id, proves(t, id)); err != nil {
			t.Errorf("Use of the one that is left: %v", err)
		}
	}
	if n := verifies(t, dirs); n != 2 {
		t.Errorf("the cards saw %d PINs, want one for each time that a card was alone", n)
	}
}

func TestNoPINGoesOutWhenATwinComesDuringAUse(t *testing.T) {
	system := virtual.New(virtual.Options{Readers: []string{"a", "b"}})
	cards, dirs := twins(t)
	insert(t, system, "a", cards[0])
	o := start(t, system, time.Second)
	card := await(t, o, once(0))[0].Card
	id := card.Identity.Card
	err := o.Use(t.Context(), id, func(ctx context.Context, l cardowner.Lease) error {
		insert(t, system, "b", cards[1])
		await(t, o, twice)
		v, err := l.Verify(ctx, pin(t, pivcard.DemoPIN), token.NewAttempt(id, token.SecretPIN, 1))
		if err != nil || v.Kind != token.VerdictNone || token.KindOf(v.Cause) != token.KindCardDuplicate {
			t.Errorf("Verify: %+v, %v; want no verdict, because of CARD_DUPLICATE", v, err)
		}
		if _, err := l.Sign(ctx, card.Keys[0], token.ECDSASHA256, make([]byte, 32)); err == nil {
			t.Error("the card signed")
		}
		return v.Cause
	})
	if token.KindOf(err) != token.KindCardDuplicate {
		t.Errorf("Use: %v, want CARD_DUPLICATE", err)
	}
	if n := verifies(t, dirs); n != 0 {
		t.Errorf("the cards saw %d PINs, want none", n)
	}
}

func TestNoUseBeginsWhenATwinComesJustBefore(t *testing.T) {
	cards, dirs := twins(t)
	var comes atomic.Bool
	var known func()
	system := virtual.New(virtual.Options{Readers: []string{"a", "b"}, Before: func(reader string, _ []byte) error {
		if reader == "a" && comes.CompareAndSwap(true, false) {
			known()
		}
		return nil
	}})
	insert(t, system, "a", cards[0])
	o := start(t, system, 10*time.Second)
	known = func() {
		insert(t, system, "b", cards[1])
		await(t, o, twice)
	}
	id := await(t, o, once(0))[0].Card.Identity.Card
	comes.Store(true)
	err := o.Use(t.Context(), id, func(context.Context, cardowner.Lease) error {
		t.Error("a use began, and would spend a try")
		return nil
	})
	if token.KindOf(err) != token.KindCardDuplicate {
		t.Errorf("Use: %v, want CARD_DUPLICATE", err)
	}
	if n := verifies(t, dirs); n != 0 {
		t.Errorf("the cards saw %d PINs, want none", n)
	}
}

func TestACardThatMovesToAnotherReaderIsNoTwin(t *testing.T) {
	system := virtual.New(virtual.Options{Readers: []string{"a", "b"}})
	card := newCard(t)
	insert(t, system, "a", card)
	o := start(t, system, time.Second)
	id := await(t, o, once(0))[0].Card.Identity.Card
	begun, end, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	release := sync.OnceFunc(func() { close(end) })
	defer release()
	go func() {
		ended <- o.Use(t.Context(), id, func(context.Context, cardowner.Lease) error {
			close(begun)
			<-end
			return nil
		})
	}()
	<-begun // from here on reader a is busy and hears of nothing
	if err := system.Remove("a"); err != nil {
		t.Fatal(err)
	}
	insert(t, system, "b", card)
	await(t, o, func(r []cardowner.Reader) bool {
		return r[0].Card == nil && r[1].Card != nil && r[1].Problem == nil
	})
	if err := o.Use(t.Context(), id, proves(t, id)); err != nil {
		t.Errorf("Use in the other reader: %v", err)
	}
	release()
	if err := <-ended; err != nil {
		t.Errorf("Use in the old reader: %v", err)
	}
}

// A card that may not be used can still be a copy of one that may.
func TestACardThatIsNotAdmittedClaimsItsIdentityToo(t *testing.T) {
	system := virtual.New(virtual.Options{Readers: []string{"a", "b"}})
	cards, _ := twins(t)
	insert(t, system, "a", cards[0])
	admitted := 0
	o := startAdmitting(t, system, time.Second, false, func(token.Identity) error {
		if admitted++; admitted > 1 { // the second comes when the first is known
			return token.NewError(token.KindVirtualRefused)
		}
		return nil
	})
	id := await(t, o, once(0))[0].Card.Identity.Card
	insert(t, system, "b", cards[1])
	r := await(t, o, func(r []cardowner.Reader) bool { return r[0].Problem != nil && r[1].Problem != nil })
	if r[0].Problem.Kind != token.KindCardDuplicate || r[1].Problem.Kind != token.KindVirtualRefused && r[1].Problem.Kind != token.KindCardDuplicate {
		t.Errorf("problems %v and %v", r[0].Problem, r[1].Problem)
	}
	if err := o.Use(t.Context(), id, nil); token.KindOf(err) != token.KindCardDuplicate {
		t.Errorf("Use: %v, want CARD_DUPLICATE", err)
	}
}
