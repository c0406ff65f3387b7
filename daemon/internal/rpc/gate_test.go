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
	refused := 0
	for flood := false; !flood; refused++ {
		_, flood = g.begin(1)
	}
	if refused != 20 {
		t.Errorf("a flood after %d more, want 20", refused)
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
