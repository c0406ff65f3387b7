package cli_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/inkan-project/inkan/client/internal/clientfake"
)

// terminal is a pseudo-terminal with inkan on it.
type terminal struct {
	t      *testing.T
	master *os.File
	slave  *os.File // kept open, to look at the settings that inkan leaves
	before unix.Termios
	cmd    *exec.Cmd
	stdout strings.Builder
	stderr strings.Builder

	mu     sync.Mutex // guards the fields that follow
	seen   strings.Builder
	grew   chan struct{}
	closed bool
}

// startOnTerminal runs inkan with these arguments on a terminal of its own,
// with inkan-prompt beside it.
func startOnTerminal(t *testing.T, fake *clientfake.Server, args ...string) *terminal {
	t.Helper()
	return startThere(t, fake, "inkan", args...)
}

// withAndWithoutPrompt runs a test with an inkan that has inkan-prompt beside
// it, and with one that asks by itself.
func withAndWithoutPrompt(t *testing.T, test func(t *testing.T, inkan string)) {
	t.Helper()
	t.Run("inkan-prompt asks", func(t *testing.T) { test(t, "inkan") })
	t.Run("inkan asks", func(t *testing.T) { test(t, inkanAlone(t)) })
}

// inkanAlone returns an inkan that has no inkan-prompt beside it.
func inkanAlone(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("inkan")
	if err != nil {
		t.Fatal(err)
	}
	alone := filepath.Join(t.TempDir(), "inkan")
	if err := os.Link(path, alone); err != nil {
		t.Fatal(err)
	}
	return alone
}

// startThere runs an inkan on a terminal of its own.
func startThere(t *testing.T, fake *clientfake.Server, inkan string, args ...string) *terminal {
	t.Helper()
	term := prepareThere(t, fake, inkan, args...)
	term.start()
	return term
}

// start starts inkan and shows what its terminal gets.
func (term *terminal) start() {
	term.t.Helper()
	if err := term.cmd.Start(); err != nil {
		term.t.Fatal(err)
	}
	go term.read()
}

// prepareThere makes a terminal and an inkan on it that is not started.
func prepareThere(t *testing.T, fake *clientfake.Server, inkan string, args ...string) *terminal {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = master.Close() })
	raw, err := master.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var number int
	var controlErr error
	if err := raw.Control(func(fd uintptr) {
		controlErr = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0)
		if controlErr == nil {
			number, controlErr = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
	}); err != nil || controlErr != nil {
		t.Fatal(err, controlErr)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = slave.Close() })
	term := &terminal{t: t, master: master, slave: slave, grew: make(chan struct{})}
	term.before = term.settings()
	term.cmd = exec.Command(inkan, args...)
	term.cmd.Env = append(os.Environ(), "INKAN_SOCKET="+fake.Socket, "INKAN_PIN_SOCKET="+fake.PINSocket, "LC_ALL=C", "GORACE=atexit_sleep_ms=0")
	term.cmd.Stdout, term.cmd.Stderr = &term.stdout, &term.stderr
	term.cmd.ExtraFiles = []*os.File{slave} // descriptor 3 there
	term.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 3}
	return term
}

func (term *terminal) settings() unix.Termios {
	term.t.Helper()
	var got *unix.Termios
	raw, err := term.slave.SyscallConn()
	if err != nil {
		term.t.Fatal(err)
	}
	var ioctlErr error
	if err := raw.Control(func(fd uintptr) { got, ioctlErr = unix.IoctlGetTermios(int(fd), unix.TCGETS) }); err != nil || ioctlErr != nil {
		term.t.Fatal(err, ioctlErr)
	}
	return *got
}

// set changes the settings of the terminal, as a shell does.
func (term *terminal) set(to unix.Termios) {
	term.t.Helper()
	raw, err := term.slave.SyscallConn()
	if err != nil {
		term.t.Fatal(err)
	}
	var ioctlErr error
	if err := raw.Control(func(fd uintptr) { ioctlErr = unix.IoctlSetTermios(int(fd), unix.TCSETS, &to) }); err != nil || ioctlErr != nil {
		term.t.Fatal(err, ioctlErr)
	}
}

func (term *terminal) read() {
	b := make([]byte, 4096)
	for {
		n, err := term.master.Read(b)
		term.mu.Lock()
		term.seen.Write(b[:n])
		close(term.grew)
		term.grew = make(chan struct{})
		term.closed = err != nil
		term.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// output returns what the terminal has shown.
func (term *terminal) output() string {
	term.mu.Lock()
	defer term.mu.Unlock()
	return term.seen.String()
}

// expect waits until the terminal shows text.
func (term *terminal) expect(text string) {
	term.t.Helper()
	late := time.After(20 * time.Second)
	for {
		term.mu.Lock()
		seen, grew, closed := term.seen.String(), term.grew, term.closed
		term.mu.Unlock()
		if strings.Contains(seen, text) {
			return
		}
		if closed {
			term.t.Fatalf("the terminal shows %q and has ended, want %q", seen, text)
		}
		select {
		case <-grew:
		case <-late:
			term.t.Fatalf("the terminal shows %q, want %q; stderr %q", seen, text, term.stderr.String())
		}
	}
}

func (term *terminal) typeKeys(keys string) {
	term.t.Helper()
	if _, err := io.WriteString(term.master, keys); err != nil {
		term.t.Fatal(err)
	}
}

// end waits for inkan, and checks that the terminal is as it was.
func (term *terminal) end(want int) {
	term.t.Helper()
	got := 0
	if err := term.cmd.Wait(); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			term.t.Fatal(err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		term.t.Errorf("inkan ended with %d, want %d; stderr %q", got, want, term.stderr.String())
	}
	if after := term.settings(); after != term.before {
		term.t.Errorf("terminal settings are %+v, were %+v", after, term.before)
	}
}
