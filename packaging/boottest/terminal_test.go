//go:build boot

package boottest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pinPrompts are how inkan-prompt asks, in English and Japanese.
var pinPrompts = []string{"(not shown; Ctrl-C cancels): ", "(表示されません。Ctrl-Cで取消し): "}

// onTerminal runs a program on a terminal of its own, types the PIN each time
// that it is asked for, and returns what the terminal showed.
func onTerminal(t *testing.T, cmd *exec.Cmd, pin string) (string, error) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	slave, err := openSlave(master)
	if err != nil {
		t.Fatalf("opening a terminal: %v", err)
	}
	if err := os.Chmod(slave.Name(), 0o666); err != nil { // whoever it becomes opens /dev/tty
		t.Fatal(err)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = slave.Close() // the program has it
	late := time.AfterFunc(90*time.Second, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	var seen strings.Builder
	answered := 0
	for {
		b := make([]byte, 4096)
		n, err := master.Read(b)
		seen.Write(b[:n])
		if asked := prompts(seen.String()); asked > answered {
			answered = asked
			if _, err := master.WriteString(pin + "\r"); err != nil {
				t.Fatal(err)
			}
		}
		if err != nil { // EIO: nobody has the terminal open any more
			break
		}
	}
	return seen.String(), cmd.Wait()
}

// prompts counts how often a PIN was asked for.
func prompts(seen string) (n int) {
	for _, p := range pinPrompts {
		n += strings.Count(seen, p)
	}
	return n
}

// openSlave opens the other end of a terminal (pty(7)).
func openSlave(master *os.File) (slave *os.File, err error) {
	raw, err := master.SyscallConn()
	if err != nil {
		return nil, err
	}
	var number int
	var controlErr error
	err = raw.Control(func(fd uintptr) {
		controlErr = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0)
		if controlErr == nil {
			number, controlErr = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
	})
	if err := errors.Join(err, controlErr); err != nil {
		return nil, err
	}
	return os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
}

// typing runs inkan on a terminal as the member, who types this PIN.
func (p *pc) typing(t *testing.T, pin string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command("runuser", append([]string{"-u", member, "--", "inkan"}, args...)...)
	cmd.Dir = p.home
	return onTerminal(t, cmd, pin)
}
