package requests

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inkan-project/inkan/token"
)

func key(id string) Key { return Key{UID: 1000, Method: "sign", ID: id} }

// act takes the turn of a request that nobody had yet.
func act(t *testing.T, b *Book, k Key) *Turn {
	t.Helper()
	turn, record, err := b.Begin(t.Context(), k, [32]byte{1}, false)
	if turn == nil || record != 0 || err != nil {
		t.Fatalf("Begin(%v) = %v, %d, %v; want a turn", k, turn, record, err)
	}
	return turn
}

func TestOfManyCallsOneActsAndTheOthersGetItsAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New()
		first := act(t, b, key("a"))
		answers := make(chan string, 10)
		for range cap(answers) {
			go func() {
				turn, record, err := b.Begin(t.Context(), key("a"), [32]byte{1}, false)
				answers <- fmt.Sprint(turn != nil, record, err)
			}()
		}
		synctest.Wait()
		if len(answers) != 0 {
			t.Fatalf("a repeat did not wait: %s", <-answers)
		}
		if _, _, err := b.Begin(t.Context(), key("a"), [32]byte{2}, false); token.KindOf(err) != token.KindRequestIDReused {
			t.Errorf("other content while the first runs: %v", err)
		}
		for _, other := range []Key{{1001, "sign", "a"}, {1000, "verify", "a"}, {1000, "sig", "na"}, key("b")} {
			act(t, b, other).End(0)
		}
		first.End(7)
		synctest.Wait()
		for range cap(answers) {
			if got := <-answers; got != "false 7 <nil>" {
				t.Errorf("a repeat: %s, want record 7", got)
			}
		}
	})
}

func TestAFirstCallThatDidNothingLeavesItsTurnToOneOfTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New()
		first := act(t, b, key("a"))
		acted, asked := make(chan *Turn, 5), make(chan error, 1)
		for range cap(acted) {
			go func() {
				turn, _, _ := b.Begin(t.Context(), key("a"), [32]byte{1}, false)
				acted <- turn
			}()
		}
		go func() {
			_, _, err := b.Begin(t.Context(), key("a"), [32]byte{1}, true)
			asked <- err
		}()
		synctest.Wait()
		first.End(0)
		synctest.Wait()
		second := <-acted
		if second == nil || len(acted) != 0 {
			t.Fatalf("turn %v, and %d others had none", second, len(acted))
		}
		second.End(9)
		synctest.Wait()
		for range cap(acted) - 1 {
			if turn := <-acted; turn != nil {
				t.Error("two calls acted")
			}
		}
		if err := <-asked; err != nil && token.KindOf(err) != token.KindRequestNotKnown {
			t.Errorf("who only asks: %v", err)
		}
	})
}

func TestWhoOnlyAsksBeginsNothing(t *testing.T) {
	b := New()
	if turn, _, err := b.Begin(t.Context(), key("a"), [32]byte{1}, true); turn != nil || token.KindOf(err) != token.KindRequestNotKnown {
		t.Errorf("Begin = %v, %v; want REQUEST_NOT_KNOWN", turn, err)
	}
	act(t, b, key("a")).End(3)
	if turn, record, err := b.Begin(t.Context(), key("a"), [32]byte{1}, true); turn != nil || record != 3 || err != nil {
		t.Errorf("Begin = %v, %d, %v; want record 3", turn, record, err)
	}
}

func TestAWaitEndsWithItsCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New()
		first := act(t, b, key("a"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, _, err := b.Begin(ctx, key("a"), [32]byte{1}, false); token.KindOf(err) != token.KindCallEnded {
			t.Errorf("Begin: %v, want CALL_ENDED", err)
		}
		first.End(1)
	})
}

func TestARequestIsRememberedForADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New()
		b.Load(key("old"), 1, Kept)
		b.Load(key("yesterday"), 2, Kept-time.Hour)
		b.Load(key("yesterday"), 3, time.Hour) // its second record
		b.Load(key("tomorrow"), 4, -time.Hour) // the clock was set back
		act(t, b, key("now")).End(5)
		known := func(id string) uint64 {
			_, record, _ := b.Begin(t.Context(), key(id), [32]byte{}, true)
			return record
		}
		state := func() string {
			return fmt.Sprint(known("old"), known("yesterday"), known("tomorrow"), known("now"), len(b.ages), b.ofUser[1000])
		}
		for _, step := range []struct {
			wait time.Duration
			want string
		}{{0, "0 2 4 5 3 3"}, {time.Hour - 1, "0 2 4 5 3 3"}, {1, "0 0 4 5 2 2"}, {Kept - time.Hour - 1, "0 0 4 5 2 2"}, {1, "0 0 0 0 0 0"}} {
			time.Sleep(step.wait)
			if got := state(); got != step.want {
				t.Errorf("%v later: %s, want %s", step.wait, got, step.want)
			}
		}
	})
}

func TestTheNumberOfRequestsIsBounded(t *testing.T) {
	b := New()
	b.maxOfUser, b.maxOfAll = 3, 5
	for i := range 2 {
		act(t, b, key(fmt.Sprint(i))).End(1)
	}
	third := act(t, b, key("2"))
	refused := func(k Key) {
		t.Helper()
		if _, _, err := b.Begin(t.Context(), k, [32]byte{1}, false); token.KindOf(err) != token.KindRequestIDsUsedUp {
			t.Errorf("Begin(%v): %v, want REQUEST_IDS_USED_UP", k, err)
		}
	}
	refused(key("3"))
	third.End(0)
	act(t, b, key("3")).End(1)
	if _, record, err := b.Begin(t.Context(), key("0"), [32]byte{1}, false); record != 1 || err != nil {
		t.Errorf("a repeat at the limit: %d, %v", record, err)
	}
	for i := range uint32(2) {
		act(t, b, Key{UID: i, Method: "sign", ID: "x"}).End(1)
	}
	refused(Key{UID: 7, Method: "sign", ID: "x"})
}

func TestWhatARequestCostsIsSmall(t *testing.T) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	b := New()
	for i := range maxOfUser {
		b.Load(Key{1, "sign", fmt.Sprint(i)}, 1, 0)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if each := (int(after.HeapAlloc) - int(before.HeapAlloc)) / maxOfUser; each > 150 {
		t.Errorf("%d bytes for each request, want at most 150", each)
	}
	runtime.KeepAlive(b)
}
