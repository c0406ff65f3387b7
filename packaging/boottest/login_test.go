//go:build boot

package boottest

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// sleeps has systemd put the PC to sleep, up to the kernel: that is told nothing.
func sleeps(t *testing.T, p *pc) {
	// The container has a /sys of its own, without what logind looks at.
	run(t, "mount", "-o", "remount,rw", "/sys")
	write(t, "/sys/power/state", "mem\n")
	defer func() { run(t, "mount", "-o", "remount,ro", "/sys") }()
	run(t, "systemctl", "restart", "systemd-logind.service") // it has a view of /sys of its own; and it may go and come
	const dropIn = "/run/systemd/system/systemd-suspend.service.d/nothing.conf"
	write(t, dropIn, "[Service]\nExecStart=\nExecStart=/bin/echo now the kernel would sleep\n")
	defer func() {
		_ = os.Remove(dropIn)
		run(t, "systemctl", "daemon-reload")
	}()
	run(t, "systemctl", "daemon-reload")
	p.sign(t, "before-sleep") // the card is held for a while
	eventually(t, 15*time.Second, func() error {
		if out := run(t, "systemd-inhibit", "--list", "--no-pager"); !strings.Contains(out, "inkand") {
			return fmt.Errorf("the service does not delay sleep:\n%s", out)
		}
		return nil
	})
	since := "@" + strconv.FormatInt(time.Now().Unix(), 10)
	run(t, "systemctl", "suspend")
	order := []string{"The PC sleeps: all cards were reset and let go", "now the kernel would sleep", "The PC is awake: cards are identified again", "Card inserted"}
	eventually(t, 20*time.Second, func() error {
		log := run(t, "journalctl", "--no-pager", "--output=cat", "--since="+since, "--unit="+service, "--unit=systemd-suspend.service")
		rest := log
		for _, line := range order {
			_, after, found := strings.Cut(rest, line)
			if !found {
				return fmt.Errorf("the journal has no %q in its place:\n%s", line, log)
			}
			rest = after
		}
		return nil
	})
	awaitCard(t, 10)
	p.sign(t, "after-sleep")
}

// seats has agents that serve all calls of the member in sessions of logind.
func seats(t *testing.T, _ *pc) {
	const dropIn = "/etc/inkan/inkand.d/90-seats.toml"
	write(t, dropIn, "[pin]\nprogram_source = true\n")
	restart(t)
	defer func() {
		_ = os.Remove(dropIn)
		restart(t)
		awaitCard(t, 10)
	}()
	awaitCard(t, 10)
	for _, tc := range []struct {
		name  string
		seat  string // "" = in a session without one
		asked bool
	}{
		{"at a seat", "seat0", true},
		{"in a session without a seat", "", false},
	} {
		a := startAgent(t, tc.seat)
		out, err := verifyAs(t)
		if got := strings.Contains(out, "PROMPT_CANCELLED"); err == nil || got != tc.asked || !got && !strings.Contains(out, "NO_PIN_AGENT") {
			t.Errorf("an agent %s was asked: %v, want %v; the call ended with %v: %s", tc.name, got, tc.asked, err, out)
		}
		a.end(t)
	}
}

// sessionAgent is an agent in a session of logind.
type sessionAgent struct {
	unit string
	cmd  *exec.Cmd
}

// startAgent logs the member in, at a seat or not, with an agent in the session.
func startAgent(t *testing.T, seat string) *sessionAgent {
	t.Helper()
	a := &sessionAgent{unit: "boottest-agent-" + seat + ".service"}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	a.cmd = exec.Command("systemd-run", "--quiet", "--pipe", "--collect", "--unit="+a.unit, "--property=User="+member,
		"--property=PAMName=login", "--setenv=XDG_SEAT="+seat, "--setenv=XDG_SESSION_CLASS=user", "--setenv=XDG_SESSION_TYPE=tty",
		"--setenv="+roleVariable+"="+roleAgent, exe) // pam_systemd(8) takes these
	a.cmd.Stderr = os.Stderr
	out, err := a.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := a.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "ready\n" {
		t.Fatalf("the agent says %q, %v", line, err)
	}
	return a
}

func (a *sessionAgent) end(t *testing.T) {
	t.Helper()
	run(t, "systemctl", "stop", a.unit)
	_ = a.cmd.Wait() // it was stopped
	eventually(t, 10*time.Second, func() error {
		for line := range strings.Lines(run(t, "loginctl", "list-sessions", "--no-legend", "--no-pager")) {
			if strings.Contains(line, member) && !strings.Contains(line, "manager") { // which stays for a while
				return fmt.Errorf("still logged in: %s", line)
			}
		}
		return nil
	})
}

// verifyAs has a program of the member's, which names no agent, verify the PIN.
func verifyAs(t *testing.T) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Env = []string{roleVariable + "=" + roleCall}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential(t, member)}
	out, err := cmd.CombinedOutput()
	return string(out), err
}
