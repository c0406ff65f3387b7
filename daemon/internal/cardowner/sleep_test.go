package cardowner_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inkan-project/inkan/daemon/internal/cardowner"
	"github.com/inkan-project/inkan/pcsc"
	"github.com/inkan-project/inkan/pcsc/virtual"
)

func unknown(r []cardowner.Reader) bool { return len(r) > 0 && r[0].Card == nil && r[0].Busy }

func TestASleepForgetsCardsAndAWakeIdentifiesThemAgain(t *testing.T) {
	first, second := newCard(t), newCard(t)
	synctest.Test(t, func(t *testing.T) {
		system := virtual.New(virtual.Options{})
		if err := system.Insert(virtual.DefaultReader, first); err != nil {
			t.Fatal(err)
		}
		o := startWith(t, system, time.Second, true) // a card that is held for good is let go all the same
		id := await(t, o, cardIn(0))[0].Card.Identity.Card
		if err := o.Use(t.Context(), id, func(context.Context, cardowner.Lease) error { return nil }); err != nil {
			t.Fatal(err)
		}
		o.Sleep(t.Context())
		if r := o.Readers(); !unknown(r) {
			t.Fatalf("asleep the readers are %+v, want one that is busy with a card that nobody knows", r)
		}
		conn, err := system.Connect(t.Context(), virtual.DefaultReader)
		if err != nil {
			t.Fatalf("asleep the card is still held: %v", err)
		}
		if err := conn.Disconnect(pcsc.Reset); err != nil {
			t.Fatal(err)
		}
		if err := system.Remove(virtual.DefaultReader); err != nil { // as a swap that nobody sees
			t.Fatal(err)
		}
		if err := system.Insert(virtual.DefaultReader, second); err != nil {
			t.Fatal(err)
		}
		settling, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		time.AfterFunc(20*time.Second, o.Wake)
		o.Settle(settling)
		if time.Since(began) < 20*time.Second {
			t.Error("asleep all is settled, want that callers wait until the PC wakes")
		}
		if now := await(t, o, cardIn(0))[0].Card.Identity.Card; now == id {
			t.Errorf("awake the card is %s, which was taken out", now)
		}
		o.Wake() // without a sleep before: nothing happens
	})
}

func TestASleepWaitsForTheUseUnderWay(t *testing.T) {
	card := newCard(t)
	synctest.Test(t, func(t *testing.T) {
		system := virtual.New(virtual.Options{})
		if err := system.Insert(virtual.DefaultReader, card); err != nil {
			t.Fatal(err)
		}
		o := start(t, system, time.Second)
		id := await(t, o, cardIn(0))[0].Card.Identity.Card
		begun, ended := make(chan struct{}), make(chan error, 1)
		go func() {
			ended <- o.Use(t.Context(), id, func(context.Context, cardowner.Lease) error {
				close(begun)
				time.Sleep(10 * time.Second)
				return nil
			})
		}()
		<-begun
		began := time.Now()
		hasty, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		defer cancel()
		o.Sleep(hasty)
		if got := time.Since(began); got != 4*time.Second {
			t.Errorf("Sleep took %v, want the 4 s that its context lasts", got)
		}
		if err := <-ended; err != nil {
			t.Errorf("the use under way ended with %v", err)
		}
		o.Sleep(t.Context()) // as if logind told it twice
		await(t, o, unknown)
		o.Wake()
		await(t, o, cardIn(0))
	})
}

func TestACardThatIsInWhenThePCWakesWasNotInserted(t *testing.T) {
	for name, tc := range map[string]struct {
		present bool // before the sleep
		after   time.Duration
		want    int
	}{
		"it was in before":           {present: true},
		"it is seen right after":     {after: time.Second},
		"a person puts it in later":  {after: 10 * time.Second, want: 1},
		"it was in and is seen late": {present: true, after: 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCounter(t)
				state := pcsc.ReaderState{Name: "a", Present: tc.present}
				c.states <- []pcsc.ReaderState{state}
				time.Sleep(time.Minute)
				c.owner.Sleep(t.Context())
				time.Sleep(time.Hour)
				c.owner.Wake()
				time.Sleep(tc.after)
				state.Present = true
				if !tc.present {
					state.Insertion++
				}
				c.states <- []pcsc.ReaderState{state}
				await(t, c.owner, cardIn(0))
				c.mu.Lock()
				defer c.mu.Unlock()
				if len(c.inserted) != tc.want {
					t.Errorf("it counted %d times as inserted, want %d", len(c.inserted), tc.want)
				}
			})
		})
	}
}
