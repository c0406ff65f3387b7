package logind_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/inkan-project/inkan/daemon/internal/logind"
	"github.com/inkan-project/inkan/daemon/internal/logind/logindtest"
)

// events are what a Conn called, in order.
type events chan string

func (e events) sleep(context.Context) { e <- "sleep" }
func (e events) wake()                 { e <- "wake" }

func (e events) want(t *testing.T, want string) {
	t.Helper()
	select {
	case got := <-e:
		if got != want {
			t.Fatalf("called %s, want %s", got, want)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("%s was not called", want)
	}
}

func (e events) wantNone(t *testing.T) {
	t.Helper()
	select {
	case got := <-e:
		t.Fatalf("called %s, want nothing", got)
	default:
	}
}

// start runs a Conn on this bus until the test ends or stop is called.
func start(t *testing.T, cfg logind.Config) (c *logind.Conn, stop func()) {
	t.Helper()
	cfg.Retry, cfg.Logger = 10*time.Millisecond, slog.New(slog.NewTextHandler(t.Output(), nil))
	c = logind.New(cfg)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := c.Run(ctx); err != nil {
			t.Errorf("Run() = %v", err)
		}
	})
	stop = func() { cancel(); wg.Wait() }
	t.Cleanup(stop)
	return c, stop
}

func TestThePCSleepsOnlyAfterSleepHasReturned(t *testing.T) {
	login, called := logindtest.Start(t), make(events, 8)
	start(t, logind.Config{Address: login.Address, Wake: called.wake, Sleep: func(context.Context) {
		if login.Delays() != 0 { // the fake took them to wait for them
			t.Error("a second delay is held")
		}
		time.AfterFunc(100*time.Millisecond, func() { called <- "slept" })
		<-called
		called <- "sleep"
	}})
	for range 2 { // the delay is asked for anew each time
		login.AwaitDelay()
		if took := login.Sleep(); took < 100*time.Millisecond {
			t.Errorf("the PC slept after %v, want after Sleep has returned", took)
		}
		called.want(t, "sleep")
		login.Wake()
		called.want(t, "wake")
	}
}

func TestASleepThatTakesTooLongIsEnded(t *testing.T) {
	login, called := logindtest.Start(t), make(events, 8)
	start(t, logind.Config{Address: login.Address, Wake: called.wake, Sleep: func(ctx context.Context) {
		<-ctx.Done()
		called <- "sleep"
	}})
	login.AwaitDelay()
	if took := login.Sleep(); took < 3*time.Second || took >= 5*time.Second {
		t.Errorf("the PC slept after %v, want before the 5 s that logind waits", took)
	}
	called.want(t, "sleep")
}

func TestEachSleepIsFollowedByAWake(t *testing.T) {
	for name, end := range map[string]func(login *logindtest.Login, stop func()){
		"logind goes away":  func(login *logindtest.Login, _ func()) { login.Leave() },
		"the service stops": func(_ *logindtest.Login, stop func()) { stop() },
	} {
		t.Run(name, func(t *testing.T) {
			login, called := logindtest.Start(t), make(events, 8)
			_, stop := start(t, logind.Config{Address: login.Address, Sleep: called.sleep, Wake: called.wake})
			login.AwaitDelay()
			login.Sleep()
			called.want(t, "sleep")
			end(login, stop)
			called.want(t, "wake")
			called.wantNone(t)
		})
	}
}

func TestWithoutADelaySleepIsStillHeardOf(t *testing.T) {
	login, called := logindtest.Start(t), make(events, 8)
	login.RefuseDelays()
	c, _ := start(t, logind.Config{Address: login.Address, Sleep: called.sleep, Wake: called.wake})
	login.Session("1", true, "seat0", os.Getpid())
	await(t, c, os.Getpid(), logind.PlaceSeat) // now it is connected
	login.Sleep()
	called.want(t, "sleep")
	login.Wake()
	called.want(t, "wake")
}

func TestAPCWithoutABusIsInOrder(t *testing.T) {
	c, stop := start(t, logind.Config{Address: "unix:path=" + filepath.Join(t.TempDir(), "none")})
	if got := c.Place(t.Context(), 1000, 1); got != logind.PlaceUnknown {
		t.Errorf("Place() = %d, want that it is not known", got)
	}
	stop()
}

// await waits until a process is where it should be.
func await(t *testing.T, c *logind.Conn, pid int, want logind.Place) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for c.Place(ctx, 1000, int32(pid)) != want {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("process %d never came to place %d", pid, want)
		}
	}
}

func TestPlaceIsWhereTheUserWouldSeeIt(t *testing.T) {
	login := logindtest.Start(t)
	c, _ := start(t, logind.Config{Address: login.Address})
	const front, behind, remote, outside = 101, 102, 103, 104
	login.Session("1", true, "seat0", front)
	login.Session("2", false, "seat0", behind)
	login.Session("3", true, "", remote)
	login.Session("4", false, "seat0")
	login.User(1000, "4")
	login.User(1001, "")
	login.AwaitDelay()
	await(t, c, front, logind.PlaceSeat)
	cases := map[string]struct {
		uid  uint32
		pid  int32
		want logind.Place
	}{
		"in the session at the front":                {1000, front, logind.PlaceSeat},
		"in a session behind it":                     {1000, behind, logind.PlaceElsewhere},
		"in a session from another machine":          {1000, remote, logind.PlaceElsewhere},
		"in no session, its user's is behind":        {1000, outside, logind.PlaceElsewhere},
		"in no session, its user has none at a seat": {1001, outside, logind.PlaceElsewhere},
		"in no session, its user has not logged in":  {1002, outside, logind.PlaceElsewhere},
		"not a process":                              {1000, 0, logind.PlaceUnknown},
	}
	for name, tc := range cases {
		if got := c.Place(t.Context(), tc.uid, tc.pid); got != tc.want {
			t.Errorf("%s: Place() = %d, want %d", name, got, tc.want)
		}
	}
	login.Session("1", false, "seat0")
	login.Session("4", true, "seat0") // the users changed places
	if got := c.Place(t.Context(), 1000, outside); got != logind.PlaceSeat {
		t.Errorf("in no session, its user's is at the front: Place() = %d, want %d", got, logind.PlaceSeat)
	}
	if got := c.Place(t.Context(), 1000, front); got != logind.PlaceElsewhere {
		t.Errorf("after a switch of users: Place() = %d, want %d", got, logind.PlaceElsewhere)
	}
	login.Leave()
	await(t, c, front, logind.PlaceUnknown)
}
