package cardcmd_test

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

// onTerminal runs a program whose input and output are a terminal, and types
// the answer each time that it asks.
func onTerminal(t *testing.T, cmd *exec.Cmd, question, answer string) (string, error) {
	t.Helper()
	master, slave := openTerminal(t)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = slave.Close()
	var out strings.Builder
	buffer, answered := make([]byte, 4096), 0
	for {
		n, err := master.Read(buffer)
		out.Write(buffer[:n])
		for answered < strings.Count(out.String(), question) {
			answered++
			awaitSilence(t, master)
			if _, err := master.WriteString(answer); err != nil {
				t.Fatal(err)
			}
		}
		if errors.Is(err, syscall.EIO) { // the last user of the slave is gone
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return out.String(), cmd.Wait()
}

// awaitSilence waits until what is typed is not shown: a program that asks for
// a PIN throws away what was typed before it switched the echo off.
func awaitSilence(t *testing.T, terminal *os.File) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(toolTime); ; {
		state, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
		if err != nil {
			t.Fatal(err)
		}
		if state.Lflag&unix.ECHO == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("the program does not switch the echo off")
		}
	}
}

// openTerminal makes a pseudo terminal (pty(7)).
func openTerminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return master, slave
}
