package client_test

import (
	"context"
	"errors"
	"os"
	"testing"

	"github.com/inkan-project/inkan/client"
	"github.com/inkan-project/inkan/client/internal/clientfake"
)

func TestWatchYieldsTheStateAtOnceAndThenEachChange(t *testing.T) {
	fake := startFake(t)
	c := dial(t, fake, client.Options{})
	var tries []uint32
	var last uint64
	for update, err := range c.Watch(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if update.Sequence <= last {
			t.Errorf("sequence %d follows %d", update.Sequence, last)
		}
		last = update.Sequence
		tries = append(tries, update.Status.GetCards()[0].GetPin().GetTriesLeft())
		if len(tries) == 3 {
			break
		}
		fake.SetTries(uint32(10 - len(tries)))
	}
	if len(tries) != 3 || tries[0] != 10 || tries[1] != 9 || tries[2] != 8 {
		t.Errorf("got tries %v, want 10, 9, 8", tries)
	}
}

func TestWatchEndsWithItsContext(t *testing.T) {
	c := dial(t, startFake(t), client.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var end error
	for _, err := range c.Watch(ctx) {
		cancel()
		end = err
	}
	if !errors.Is(end, client.ErrCallEnded) || !errors.Is(end, context.Canceled) {
		t.Errorf("got %v, want ErrCallEnded that is context.Canceled", end)
	}
}

func TestWatchEndsWhenItsClientIsClosed(t *testing.T) {
	c := dial(t, startFake(t), client.Options{})
	var end error
	for update, err := range c.Watch(t.Context()) {
		switch {
		case err != nil:
			end = err
		case update.Lost != nil:
			t.Fatalf("waits for inkand after Close: %v", update.Lost)
		default:
			go c.Close() // it returns nil
		}
	}
	if !errors.Is(end, client.ErrCallEnded) {
		t.Errorf("got %v, want ErrCallEnded", end)
	}
}

// fakeIn starts a fake in a directory that a later one can take over.
func fakeIn(t *testing.T, dir string) *clientfake.Server {
	t.Helper()
	s, err := clientfake.Start(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "inkan")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func TestWatchSaysThatInkandIsAwayAndGoesOnWhenItIsBack(t *testing.T) {
	dir := shortDir(t)
	fake := fakeIn(t, dir)
	c := dial(t, fake, client.Options{})
	var seen []string
	for update, err := range c.Watch(t.Context()) {
		switch {
		case err != nil:
			t.Fatal(err)
		case update.Lost != nil:
			seen = append(seen, "lost")
			if !errors.Is(update.Lost, client.ErrServiceUnreachable) || update.Status != nil {
				t.Errorf("got %v and a state %t, want ErrServiceUnreachable and none", update.Lost, update.Status != nil)
			}
			fake = fakeIn(t, dir)
		default:
			seen = append(seen, "state")
			if len(seen) < 5 {
				fake.Stop()
			}
		}
		if len(seen) == 5 {
			break
		}
	}
	for i, want := range []string{"state", "lost", "state", "lost", "state"} {
		if seen[i] != want {
			t.Fatalf("got %v, want states and losses in turn", seen)
		}
	}
}

func TestWatchOfAnInkandThatIsAwayEndsWithItsContext(t *testing.T) {
	fake := startFake(t)
	c := dial(t, fake, client.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var end error
	for update, err := range c.Watch(ctx) {
		if update.Lost != nil {
			cancel()
		} else if err == nil {
			fake.Stop()
		}
		end = err
	}
	if !errors.Is(end, client.ErrCallEnded) || !errors.Is(end, context.Canceled) {
		t.Errorf("got %v, want ErrCallEnded that is context.Canceled", end)
	}
}

func TestAnInkandThatIsTooOldIsNotCalled(t *testing.T) {
	dir := shortDir(t)
	fake := fakeIn(t, dir)
	fake.SetAPILevel(0)
	_, err := client.Dial(t.Context(), client.Options{Socket: fake.Socket, Language: "ja"})
	if e, ok := errors.AsType[*client.Error](err); !ok || !errors.Is(err, client.ErrServiceTooOld) {
		t.Fatalf("got %v, want ErrServiceTooOld", err)
	} else if message, _ := e.In("en"); message != "inkand v0.0.0-fake is too old for this program: it needs an API level of at least 1." || e.Message == message {
		t.Errorf("got %q and %q, want both versions, in both languages", message, e.Message)
	}
	if fake.Calls() != 0 {
		t.Errorf("%d calls were made", fake.Calls())
	}

	fake.SetAPILevel(99) // a later one is no reason
	c := dial(t, fake, client.Options{})
	if s, err := c.Service(t.Context()); err != nil || s.APILevel != 99 || s.Version == "" {
		t.Errorf("got %+v, %v; want level 99", s, err)
	}

	fake.Stop() // an update that was taken back
	older := fakeIn(t, shortDir(t))
	older.SetAPILevel(0)
	if err := os.Rename(older.Socket, fake.Socket); err != nil { // nobody meets it before it is old
		t.Fatal(err)
	}
	for update, watchErr := range c.Watch(t.Context()) {
		if err = watchErr; update.Status != nil {
			t.Error("it is watched")
		}
	}
	if !errors.Is(err, client.ErrServiceTooOld) || older.Calls() != 0 {
		t.Errorf("got %v after %d calls, want ErrServiceTooOld before any", err, older.Calls())
	}
}
