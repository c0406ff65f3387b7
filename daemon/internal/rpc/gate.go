package rpc

import (
	"fmt"
	"sync"
	"time"

	"github.com/inkan-project/inkan/token"
)

// Limits bound what the programs of one user, and of all users together, may
// have open. Zero values mean the default named.
type Limits struct {
	// Connections of all users; default 256. A user who has none gets one even
	// so, until there are 64 more.
	Connections int
	// UserConnections of one user; default 8.
	UserConnections int
	// Calls of all users that run at once; default 2000. A user who has fewer
	// than eight goes on even so.
	Calls int
	// UserCalls of one user that run at once; default 250.
	UserCalls int
	// UserRate is how many calls one user may begin in a second, on average;
	// twice as many may come at once. Default 1000.
	UserRate int
}

// What remains for others when the limits of all users are reached.
const (
	spareConnections = 64
	spareCalls       = 8
)

// Connections of which each call is answered with the reason for which it is
// not served, for tellTime; others are closed without a word.
const (
	userTold  = 2
	totalTold = 16
	tellTime  = 2 * time.Second
)

// userDials is how many connections one user may open in a second, on average.
const userDials = 100

// Whoever goes on asking for what is refused, or sends frames that no program
// needs, is shut out for shutTime: connections are cut, new ones closed.
const (
	refusalShare = 0.5 // of UserRate: refusals in a second, on average
	frameShare   = 10  // of UserRate: frames in a second, on average; a call has five
	shutTime     = 2 * time.Second
)

func (l Limits) withDefaults() Limits {
	set := func(n *int, value int) {
		if *n <= 0 {
			*n = value
		}
	}
	set(&l.Connections, 256)
	set(&l.UserConnections, 8)
	set(&l.Calls, 2000)
	set(&l.UserCalls, 250)
	set(&l.UserRate, 1000)
	return l
}

// gate counts what each user has open. What it refuses costs next to nothing.
type gate struct {
	limits Limits
	now    func() time.Time

	mu    sync.Mutex // guards the fields that follow
	users map[uint32]*guest
	conns int
	told  int
	calls int
}

// guest is what one user has open.
type guest struct {
	conns, told, calls                int
	begun, refused, dialled, framesIn bucket
	shutUntil                         time.Time
}

// bucket lets so many through in a second on average, and twice as many at
// once.
type bucket struct {
	left float64
	at   time.Time
}

// take takes n, or what there is and reports false.
func (b *bucket) take(now time.Time, rate float64, n int) bool {
	most := 2 * rate
	if b.at.IsZero() {
		b.left = most
	} else if passed := now.Sub(b.at).Seconds(); passed > 0 {
		b.left = min(most, b.left+passed*rate)
	}
	b.at = now
	if b.left < float64(n) {
		b.left = 0
		return false
	}
	b.left -= float64(n)
	return true
}

// full reports whether nothing is remembered that matters.
func (b *bucket) full(now time.Time) bool { return now.Sub(b.at) > 2*time.Second }

func newGate(limits Limits) *gate {
	return &gate{limits: limits.withDefaults(), now: time.Now, users: map[uint32]*guest{}}
}

// entry is what becomes of a new connection.
type entry int

const (
	shut   entry = iota // closed at once
	tell                // each call is told why
	served              // as it should be
)

// dial lets a user open a connection, or not, before anything is done for it.
func (g *gate) dial(uid uint32) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	u, now := g.userLocked(uid), g.now()
	return !now.Before(u.shutUntil) && u.dialled.take(now, userDials, 1)
}

// connect counts a connection in. leave counts it out; it is called once.
func (g *gate) connect(uid uint32) (e entry, leave func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	u := g.userLocked(uid)
	spare := u.conns == 0 && g.conns < g.limits.Connections+spareConnections
	switch {
	case u.conns < g.limits.UserConnections && (g.conns < g.limits.Connections || spare):
		u.conns++
		g.conns++
		return served, func() { g.leave(uid, func(u *guest) { u.conns--; g.conns-- }) }
	case u.told < userTold && g.told < totalTold:
		u.told++
		g.told++
		return tell, func() { g.leave(uid, func(u *guest) { u.told--; g.told-- }) }
	}
	return shut, nil
}

// begin lets a user begin a call, or not. flood means that the user was
// refused so often that the connection is not worth keeping.
func (g *gate) begin(uid uint32) (ok, flood bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	u, now, rate := g.userLocked(uid), g.now(), float64(g.limits.UserRate)
	switch {
	case now.Before(u.shutUntil):
		return false, true
	case u.begun.take(now, rate, 1):
		return true, false
	case u.refused.take(now, refusalShare*rate, 1):
		return false, false
	}
	u.shutUntil = now.Add(shutTime)
	return false, true
}

// frames counts what came of a user; flood as in begin.
func (g *gate) frames(uid uint32, n int) (flood bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	u, now := g.userLocked(uid), g.now()
	if now.Before(u.shutUntil) {
		return true
	}
	if u.framesIn.take(now, frameShare*float64(g.limits.UserRate), n) {
		return false
	}
	u.shutUntil = now.Add(shutTime)
	return true
}

// run counts a call in; done counts it out. The error is KindTooManyCalls.
func (g *gate) run(uid uint32) (done func(), err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	u := g.userLocked(uid)
	if u.calls >= g.limits.UserCalls {
		return nil, tooMany(fmt.Sprintf("%d calls at once, the most for one user", u.calls), fmt.Sprintf("同時に%d件、1ユーザの上限", u.calls))
	}
	if g.calls >= g.limits.Calls && u.calls >= spareCalls {
		return nil, tooMany("all users together have the most calls at once", "全ユーザの合計が上限")
	}
	u.calls++
	g.calls++
	return func() { g.leave(uid, func(u *guest) { u.calls--; g.calls-- }) }, nil
}

func (g *gate) leave(uid uint32, change func(*guest)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change(g.userLocked(uid))
	g.forgetLocked(uid)
}

func (g *gate) userLocked(uid uint32) *guest {
	u := g.users[uid]
	if u == nil {
		u = &guest{}
		g.users[uid] = u
	}
	return u
}

// forgetLocked forgets users who have nothing open and were quiet for a while,
// and those who left before.
func (g *gate) forgetLocked(uid uint32) {
	if u := g.users[uid]; u.conns+u.told+u.calls > 0 {
		return
	}
	now := g.now()
	for id, u := range g.users {
		if u.conns+u.told+u.calls == 0 && u.begun.full(now) && u.dialled.full(now) {
			delete(g.users, id)
		}
	}
}

// tooMany is the error for what a limit refuses, with its detail in both
// languages.
func tooMany(en, ja string) *token.Error {
	return token.NewError(token.KindTooManyCalls, "detail", en).InJapanese(ja)
}
