package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// unit starts inkand again and again as systemd does: the sockets stay.
type unit struct {
	dir, program  string
	calls, agents *os.File
	notify        *net.UnixConn
	said          strings.Builder // on stderr; to be read while it does not run
}

func newUnit(t *testing.T) *unit {
	t.Helper()
	dir := t.TempDir()
	u := &unit{dir: dir, program: filepath.Join(dir, "inkand")}
	self, err := os.ReadFile("/proc/self/exe")
	if err == nil {
		err = os.WriteFile(u.program, self, 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	socket := func(network, name string) *os.File {
		l, err := net.ListenUnix(network, &net.UnixAddr{Name: filepath.Join(dir, name), Net: network})
		if err != nil {
			t.Fatal(err)
		}
		l.SetUnlinkOnClose(false)
		f, err := l.File()
		if err := errors.Join(err, l.Close()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		return f
	}
	u.calls, u.agents = socket("unix", "inkan.sock"), socket("unixpacket", "pin.sock")
	if u.notify, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = u.notify.Close() })
	return u
}

// start starts inkand. The descriptors are handed over in an order of which
// inkand must not depend: names count.
func (u *unit) start(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sh", "-c", `LISTEN_PID=$$ WATCHDOG_PID=$$ exec "$0" "$@"`, u.program,
		"serve", "--virtual", "--state", filepath.Join(u.dir, "state"))
	cmd.ExtraFiles = []*os.File{u.agents, u.calls}
	cmd.Env = []string{
		"LC_ALL=C", "PATH=" + os.Getenv("PATH"), "LISTEN_FDS=2", "LISTEN_FDNAMES=inkan-pin:inkan",
		"NOTIFY_SOCKET=" + filepath.Join(u.dir, "notify"), "WATCHDOG_USEC=300000",
	}
	cmd.Stderr = io.MultiWriter(t.Output(), &u.said)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// told waits until inkand tells this, and returns the whole of it.
func (u *unit) told(t *testing.T, state string) string {
	t.Helper()
	b := make([]byte, 4096)
	if err := u.notify.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	for {
		n, err := u.notify.Read(b)
		if err != nil {
			t.Fatalf("waiting for %s: %v", state, err)
		}
		if said := string(b[:n]); strings.HasPrefix(said, state) {
			return said
		}
	}
}

// TestInkandIsAUnitOfSystemd: it takes the sockets by name, serves who waited in
// them, tells when it is ready and stops, feeds the watchdog, and leaves the
// sockets for the next one.
func TestInkandIsAUnitOfSystemd(t *testing.T) {
	u := newUnit(t)
	program := forNobody(t) // as inkan
	for round := range 2 {
		early := exec.Command(program, "status", "--json")
		early.Env = []string{"LC_ALL=C", "INKAN_SOCKET=" + filepath.Join(u.dir, "inkan.sock")}
		answer := make(chan error, 1)
		go func() { // waits in the queue until there is an inkand
			out, err := early.CombinedOutput()
			if err != nil {
				err = fmt.Errorf("%w: %s", err, out)
			}
			answer <- err
		}()
		cmd := u.start(t)
		if said := u.told(t, "READY=1"); !strings.Contains(said, "STATUS=Answering calls; PIN memory ") || !strings.Contains(said, "peer check ") {
			t.Errorf("ready with %q", said)
		}
		if err := <-answer; err != nil {
			t.Errorf("round %d: who waited is not answered: %v", round, err)
		}
		u.told(t, "WATCHDOG=1")
		u.told(t, "WATCHDOG=1")
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		u.told(t, "STOPPING=1")
		if err := cmd.Wait(); err != nil {
			t.Errorf("stopping inkand: %v", err)
		}
		if strings.Contains(u.said.String(), "level=ERROR") {
			t.Error("inkand complains of something")
		}
		for _, name := range []string{"inkan.sock", "pin.sock"} {
			if _, err := os.Lstat(filepath.Join(u.dir, name)); err != nil {
				t.Errorf("systemd's socket is gone: %v", err)
			}
		}
	}
}
