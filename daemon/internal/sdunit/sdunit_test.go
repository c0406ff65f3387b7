package sdunit

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inkan-project/inkan/token"
)

// handed returns the descriptor of a socket as systemd hands it over.
func handed(t *testing.T, network, name string) *os.File {
	t.Helper()
	address := filepath.Join(t.TempDir(), "s")
	var file interface{ File() (*os.File, error) }
	switch network {
	case "unix", "unixpacket":
		l, err := net.ListenUnix(network, &net.UnixAddr{Name: address, Net: network})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		file = l
	case "unixgram":
		c, err := net.ListenUnixgram(network, &net.UnixAddr{Name: address, Net: network})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		file = c
	case "tcp":
		l, err := net.ListenTCP(network, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		file = l
	}
	f, err := file.File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return os.NewFile(f.Fd(), name)
}

func TestSocketsAreTakenByTheirNames(t *testing.T) {
	var u Unit
	for name, network := range map[string]string{"inkan": "unix", "inkan-pin": "unixpacket"} {
		if err := u.take(handed(t, network, name)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if u.Calls == nil || u.Calls.Addr().Network() != "unix" || u.Agents == nil || u.Agents.Addr().Network() != "unixpacket" {
		t.Errorf("got %v and %v", u.Calls, u.Agents)
	}
	if err := u.take(handed(t, "unix", "inkan")); token.KindOf(err) != token.KindSocketNotUsable {
		t.Errorf("a second one of a name: %v", err)
	}
}

func TestWhatIsNotOursIsNotTaken(t *testing.T) {
	for what, c := range map[string]struct{ name, network string }{
		"a name we do not know":      {"web", "unix"},
		"no name":                    {"LISTEN_FD_3", "unix"},
		"packets where calls go":     {"inkan", "unixpacket"},
		"a stream where agents are":  {"inkan-pin", "unix"},
		"datagrams":                  {"inkan", "unixgram"},
		"what the network can reach": {"inkan", "tcp"},
	} {
		var u Unit
		err := u.take(handed(t, c.network, c.name))
		if token.KindOf(err) != token.KindSocketNotUsable || u.Calls != nil || u.Agents != nil {
			t.Errorf("%s: %v, want SOCKET_NOT_USABLE", what, err)
		}
	}
}

func TestWithoutSystemdNothingIsTakenOrTold(t *testing.T) {
	u, err := Take()
	if err != nil || u.Calls != nil || u.Agents != nil {
		t.Fatalf("Take: %+v, %v", u, err)
	}
	u.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	u.Ready("there is nobody to read this")
	u.Stopping()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := u.Watch(ctx, func(context.Context) error { t.Error("asked"); return nil }); err != nil {
		t.Error(err)
	}
}

// TestTheWatchdogIsFedForAnswersOnly: every third of the time that systemd
// gives, and never for a service that is silent or says no.
func TestTheWatchdogIsFedForAnswersOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex // guards what follows
		var log strings.Builder
		fed, answer := 0, well
		u := Unit{Logger: slog.New(slog.NewTextHandler(writer(func(b []byte) {
			mu.Lock()
			defer mu.Unlock()
			log.Write(b)
		}), nil)), notify: func(state string) error {
			mu.Lock()
			defer mu.Unlock()
			if state != "WATCHDOG=1" {
				t.Errorf("told %q", state)
			}
			fed++
			return nil
		}}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			u.watch(ctx, 10*time.Second, func(ctx context.Context) error {
				mu.Lock()
				now := answer
				mu.Unlock()
				return now(ctx)
			})
		}()
		phase := func(name string, next func(context.Context) error, want, lines int) {
			t.Helper()
			mu.Lock()
			answer, fed = next, 0
			mu.Unlock()
			time.Sleep(time.Minute)
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if fed != want || strings.Count(log.String(), "Not feeding") != lines {
				t.Errorf("%s: fed %d times in a minute, want %d; the log, in which %d should say that it is not:\n%s", name, fed, want, lines, &log)
			}
		}
		time.Sleep(time.Second) // phases end between two times that it is asked
		phase("answers", well, 6, 0)
		phase("says no", func(context.Context) error { return errors.New("no") }, 0, 1)
		phase("answers again", well, 6, 1)
		phase("does not come back in time", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, 0, 2)
		phase("answers again", well, 6, 2)
		mu.Lock()
		answer = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		mu.Unlock()
		time.Sleep(10 * time.Second)
		cancel() // while it is asked
		<-done
		if strings.Count(log.String(), "Not feeding") != 2 || !strings.Contains(log.String(), "goroutine profile") {
			t.Errorf("want the end not to be taken for silence, and silence to say where it hangs:\n%s", &log)
		}
	})
}

func well(context.Context) error { return nil }

type writer func([]byte)

func (w writer) Write(b []byte) (int, error) {
	w(b)
	return len(b), nil
}
