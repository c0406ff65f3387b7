package rpc

import (
	"testing"
	"time"

	"github.com/inkan-project/inkan/token"
)

// steady is a gate whose clock stands still until it is moved.
func steady(l Limits) (*gate, *time.Time) {
	g, now := newGate(l), time.Unix(1_800_000_000, 0)
	g.now = func() time.Time { return now }
	return g, &now
}

func TestConnectionsOfAUserAreBoundedAndTheNextOnesAreTold(t *testing.T) {
	g, _ := steady(Limits{UserConnections: 3})
	var leaves []func()
	for i, want := range []entry{served, served, served, tell, tell, shut, shut} {
		got, leave := g.connect(1000)
		if got != want {
			t.Errorf("connection %d: %v, want %v", i+1, got, want)
		}
		leaves = append(leaves, leave)
	}
	if got, _ := g.connect(1001); got != served {
		t.Errorf("another user: %v, want served", got)
	}
	leaves[0]()
	if got, _ := g.connect(1000); got != served {
		t.Errorf("after one was closed: %v, want served", got)
	}
}

func TestWhoHasNothingIsServedThoughOthersHaveAll(t *testing.T) {
	g, _ := steady(Limits{Connections: 4, UserConnections: 4, Calls: 20, UserCalls: 15})
	for range 4 {
		g.connect(1)
	}
	if got, _ := g.connect(2); got != served {
		t.Errorf("first connection of another user: %v, want served", got)
	}
	if got, _ := g.connect(2); got != tell {
		t.Errorf("second: %v, want told", got)
	}
	begun := func(uid uint32) (n int) {
		for n < 100 {
			if _, err := g.run(uid); err != nil {
				if token.KindOf(err) != token.KindTooManyCalls {
					t.Errorf("got %v, want TOO_MANY_CALLS", err)
				}
				return n
			}
			n++
		}
		return n
	}
	for uid, want := range []int{15, 8, 8} {
		if got := begun(uint32(uid)); got != want {
			t.Errorf("user %d has %d calls, want %d", uid, got, want)
		}
	}
}

func TestCallsThatComeTooFastAreRefusedUntilTimePasses(t *testing.T) {
	g, now := steady(Limits{UserRate: 10})
	count := func() (n int) {
		for ok := true; ok; n++ {
			ok, _ = g.begin(1)
		}
		return n - 1
	}
	if got := count(); got != 20 {
		t.Errorf("%d calls at once, want 20", got)
	}
	*now = now.Add(time.Second)
	if got := count(); got != 10 {
		t.Errorf("%d calls after a second, want 10", got)
	}
	if ok, _ := g.begin(2); !ok {
		t.Error("another user is refused")
	}
	for i := 0; ; i++ { // some refusals are spent above
		if _, flood := g.begin(1); flood {
			break
		}
		if i > 10 {
			t.Fatal("who goes on is not shut out")
		}
	}
	if g.dial(1) || !g.dial(2) || !g.frames(1, 1) || g.frames(2, 1) {
		t.Error("who floods opens connections, or another user does not")
	}
	*now = now.Add(shutTime)
	if ok, flood := g.begin(1); !ok || flood || !g.dial(1) {
		t.Error("who flooded is shut out for ever")
	}
}

func TestFramesThatNoProgramNeedsShutOut(t *testing.T) {
	g, _ := steady(Limits{UserRate: 10})
	if g.frames(1, 200) || !g.frames(1, 1) {
		t.Error("want 200 frames at once to pass, and the next not")
	}
}

func TestFramesAreCountedHoweverTheyCome(t *testing.T) {
	var stream []byte
	for i := range 50 {
		stream = append(stream, byte(i>>8), 0, byte(i), 0, 0, 0, 0, 0, 1)
		stream = append(stream, make([]byte, i)...)
	}
	for size := 1; size <= len(stream); size += 7 {
		var f frames
		n := 0
		for rest := stream; len(rest) > 0; rest = rest[min(size, len(rest)):] {
			n += f.count(rest[:min(size, len(rest))])
		}
		if n != 50 {
			t.Errorf("in pieces of %d bytes: %d frames, want 50", size, n)
		}
	}
}

func TestUsersWhoLeftAreForgotten(t *testing.T) {
	g, now := steady(Limits{})
	for uid := range uint32(1000) {
		if e, leave := g.connect(uid); e == served {
			leave()
		}
		*now = now.Add(time.Second)
	}
	if len(g.users) > 5 || g.conns != 0 {
		t.Errorf("%d users are remembered, %d connections; want a few, and none", len(g.users), g.conns)
	}
}
