package cardowner_test

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inkan-project/inkan/daemon/internal/cardowner"
	"github.com/inkan-project/inkan/pcsc"
	"github.com/inkan-project/inkan/pcsc/virtual"
	"github.com/inkan-project/inkan/token"
	"github.com/inkan-project/inkan/token/cardprofile"
	"github.com/inkan-project/inkan/token/piv"
)

// told is readers whose states the test tells: what pcscd says and what is
// inside may differ, as they do right after a start.
type told struct {
	*virtual.System
	states chan []pcsc.ReaderState
	taken  int // how often Connect fails before it does not
}

func (s *told) Wait(ctx context.Context, _ []pcsc.ReaderState) ([]pcsc.ReaderState, error) {
	select {
	case states := <-s.states:
		return states, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *told) Connect(ctx context.Context, reader string) (pcsc.Card, error) {
	if s.taken > 0 {
		s.taken--
		return nil, pcsc.ErrSharing
	}
	return s.System.Connect(ctx, reader)
}

// counter is a place with two readers that a card lies in, and an Owner that
// says which insertions count.
type counter struct {
	*told
	owner    *cardowner.Owner
	card     token.CardID // in reader a, and a copy of it in b
	mu       sync.Mutex   // guards inserted and refuse
	inserted []token.CardID
	refuse   error
}

func newCounter(t *testing.T) *counter {
	t.Helper()
	c := &counter{told: &told{System: virtual.New(virtual.Options{Readers: []string{"a", "b"}}), states: make(chan []pcsc.ReaderState)}}
	card := newCard(t)
	for _, name := range []string{"a", "b"} {
		if err := c.Insert(name, card); err != nil {
			t.Fatal(err)
		}
	}
	profiles, err := cardprofile.Shipped()
	if err != nil {
		t.Fatal(err)
	}
	c.owner = cardowner.New(cardowner.Config{
		System: c.told,
		Applications: []cardowner.Application{{
			Name:    "PIV",
			Profile: func(atr []byte, card token.CardID) token.Profile { return profiles.For("PIV", atr, card) },
			Open:    func(c cardowner.Connection, p token.Profile) token.Token { return piv.Open(c, piv.FromProfile(p)) },
		}},
		Idle: idle, Retry: time.Second, CommandTimeout: time.Second, Logger: slog.New(slog.DiscardHandler),
		Met: func(_ context.Context, id token.Identity, _ []token.Key) error { c.card = id.Card; return nil },
		Inserted: func(_ context.Context, id token.CardID) error {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.inserted = append(c.inserted, id)
			return c.refuse
		},
	})
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := c.owner.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(func() { stop(); wg.Wait() })
	return c
}

// look is what pcscd says for a while.
type look struct {
	readers []pcsc.ReaderState
	lasts   time.Duration
}

func one(reader string, present bool, insertion, epoch uint32, lasts time.Duration) look {
	return look{[]pcsc.ReaderState{{Name: reader, Present: present, Insertion: insertion, Epoch: epoch}}, lasts}
}

func nothing(lasts time.Duration) look { return look{nil, lasts} }

// TestAnInsertionCountsOnlyWhenAPersonMadeIt: it gives tries to whoever wants to
// burn them, so that nothing a program can do may look like one.
func TestAnInsertionCountsOnlyWhenAPersonMadeIt(t *testing.T) {
	const moment, long = 10 * time.Millisecond, 10 * time.Second
	tests := map[string]struct {
		looks []look
		taken int
		want  int
	}{
		"into a reader that was watched for a while": {looks: []look{one("a", false, 0, 0, long), one("a", true, 1, 0, long)}, want: 1},
		"taken out and put in again": {looks: []look{
			one("a", false, 0, 0, long), one("a", true, 1, 0, long), one("a", false, 2, 0, moment), one("a", true, 3, 0, long),
		}, want: 2},
		"taken out and put in again, card inside at the start": {looks: []look{
			one("a", true, 0, 0, long), one("a", false, 1, 0, moment), one("a", true, 2, 0, long),
		}, want: 1},
		"told twice": {looks: []look{
			one("a", false, 0, 0, long), one("a", true, 1, 0, moment), one("a", true, 1, 0, long),
		}, want: 1},
		"another program had it at first": {looks: []look{
			one("a", false, 0, 0, long), one("a", true, 1, 0, long),
		}, taken: 3, want: 1},
		"another program had it at first, and another reader came": {looks: []look{
			one("a", false, 0, 0, long), one("a", true, 1, 0, 100*time.Millisecond),
			{[]pcsc.ReaderState{{Name: "a", Present: true, Insertion: 1}, {Name: "b"}}, long},
		}, taken: 3, want: 1},
		"a copy in another reader": {looks: []look{
			{[]pcsc.ReaderState{{Name: "a", Present: true}, {Name: "b"}}, long},
			{[]pcsc.ReaderState{{Name: "a", Present: true}, {Name: "b", Present: true, Insertion: 1}}, long},
		}, want: 1},
		"the card was inside at the start": {looks: []look{one("a", true, 0, 0, long)}},
		"at the start pcscd had not powered it yet": {looks: []look{
			one("a", false, 0, 0, 3*time.Second), one("a", true, 1, 0, long),
		}},
		"a swap that nobody saw empty": {looks: []look{
			one("a", false, 0, 0, moment), one("a", true, 1, 0, long), one("a", true, 3, 0, long),
		}},
		"pcscd was restarted": {looks: []look{
			one("a", true, 1, 0, long), nothing(long), one("a", true, 1, 1, long),
		}},
		"pcscd was restarted and shows it empty at first": {looks: []look{
			one("a", true, 1, 0, long), nothing(long), one("a", false, 0, 1, 2*time.Second), one("a", true, 1, 1, long),
		}},
		"pcscd was restarted faster than anybody looked": {looks: []look{
			one("a", true, 1, 0, long), one("a", false, 0, 1, 2*time.Second), one("a", true, 1, 1, long),
		}},
		"pcscd was restarted while it was out": {looks: []look{
			one("a", false, 0, 0, long), one("a", true, 1, 1, long),
		}},
		"pcscd was restarted twice": {looks: []look{
			one("a", true, 1, 0, long), one("a", false, 0, 1, 2*time.Second), one("a", false, 0, 2, 2*time.Second), one("a", true, 1, 2, long),
		}},
		"the reader was plugged in with it": {looks: []look{
			nothing(long), one("a", false, 0, 0, time.Second), one("a", true, 1, 0, long),
		}},
		"the reader was unplugged and plugged in": {looks: []look{
			one("a", true, 1, 0, long), nothing(long), one("a", false, 2, 0, time.Second), one("a", true, 3, 0, long),
		}},
		"the other reader was emptied": {looks: []look{
			{[]pcsc.ReaderState{{Name: "a", Present: true}, {Name: "b", Present: true}}, long},
			{[]pcsc.ReaderState{{Name: "a", Present: true}, {Name: "b", Insertion: 1}}, long},
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCounter(t)
				c.taken = tt.taken
				for _, l := range tt.looks {
					c.states <- l.readers
					<-time.After(l.lasts)
					synctest.Wait()
				}
				c.mu.Lock()
				defer c.mu.Unlock()
				if want := slices.Repeat([]token.CardID{c.card}, tt.want); !slices.Equal(c.inserted, want) {
					t.Errorf("insertions counted: %v, want %v", c.inserted, want)
				}
			})
		})
	}
}

// A card that turns out to be another one in the middle of a use was swapped
// faster than pcscd looks: nobody saw a person do it.
func TestASwapFoundByAUseIsNoInsertion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCounter(t)
		mute := &exchanged{card: newCard(t)}
		if err := c.Remove("a"); err != nil {
			t.Fatal(err)
		}
		if err := c.Insert("a", mute); err != nil {
			t.Fatal(err)
		}
		for _, present := range []bool{false, true} {
			c.states <- []pcsc.ReaderState{{Name: "a", Present: present, Insertion: 1}}
			<-time.After(10 * time.Second)
		}
		synctest.Wait()
		old := await(t, c.owner, cardIn(0))[0].Card.Identity.Card
		mute.put(newCard(t))
		if err := c.owner.Use(t.Context(), old, nil); token.KindOf(err) != token.KindCardChanged {
			t.Errorf("Use: %v, want CARD_CHANGED", err)
		}
		synctest.Wait()
		if c.card == old {
			t.Error("the other card was not looked at")
		}
		if want := []token.CardID{old}; !slices.Equal(c.inserted, want) {
			t.Errorf("insertions counted: %v, want %v", c.inserted, want)
		}
	})
}

func TestAnInsertionThatCannotBeRecordedLeavesTheCardUnusable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCounter(t)
		c.refuse = token.NewError(token.KindJournalUnavailable)
		for _, present := range []bool{false, true} {
			c.states <- []pcsc.ReaderState{{Name: "a", Present: present, Insertion: 1}}
			<-time.After(10 * time.Second)
		}
		synctest.Wait()
		r := c.owner.Readers()[0]
		if r.Card != nil || r.Problem == nil || r.Problem.Kind != token.KindJournalUnavailable {
			t.Errorf("reader %+v, want no card because of JOURNAL_UNAVAILABLE", r)
		}
	})
}
