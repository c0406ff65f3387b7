package broker

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/inkan-project/inkan/token"
)

func TestUsersWhoWantOneCardTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := newTurns()
		first, err := turns.take(t.Context(), "card", 1)
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		var order []string
		var all sync.WaitGroup
		want := func(uid uint32, name string) {
			all.Go(func() {
				done, err := turns.take(t.Context(), "card", uid)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				order = append(order, name)
				mu.Unlock()
				done()
			})
			synctest.Wait()
		}
		for _, name := range []string{"a1", "a2", "a3", "a4"} {
			want(1, name)
		}
		want(2, "b1") // comes last, and waits for whose turn it is
		want(2, "b2")
		want(3, "c1")
		if done, err := turns.take(t.Context(), "another card", 1); err != nil {
			t.Error(err)
		} else {
			done()
		}
		first()
		all.Wait()
		if want := []string{"b1", "c1", "a1", "b2", "a2", "a3", "a4"}; !slices.Equal(order, want) {
			t.Errorf("turns %v, want %v", order, want)
		}
		if len(turns.cards) != 0 {
			t.Errorf("%d queues are left", len(turns.cards))
		}
	})
}

func TestWhoGivesUpLosesNoTurnOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := newTurns()
		first, err := turns.take(t.Context(), "card", 1)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				if done, err := turns.take(ctx, "card", 2); err == nil { // the turn came first
					done()
				} else if token.KindOf(err) != token.KindCallEnded {
					t.Errorf("got %v, want CALL_ENDED", err)
				}
			})
		}
		got := make(chan error, 1)
		all.Go(func() {
			done, err := turns.take(t.Context(), "card", 3)
			if err == nil {
				done()
			}
			got <- err
		})
		synctest.Wait()
		go cancel() // at the same moment
		first()
		if err := <-got; err != nil {
			t.Errorf("who did not give up: %v", err)
		}
		all.Wait()
		if len(turns.cards) != 0 {
			t.Errorf("%d queues are left", len(turns.cards))
		}
	})
}
