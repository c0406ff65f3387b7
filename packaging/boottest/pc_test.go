//go:build boot

package boottest

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	state   = "/var/lib/inkan"
	service = "inkand.service"
	member  = "alice" // of group inkan
	other   = "bob"
)

// pc is what one step tells the next.
type pc struct {
	home string // of member
}

// run runs a program that must work and returns what it printed.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := try(name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

// try runs a program and returns what it printed, on both.
func try(name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// as runs a program as a user of the PC, in no session.
func as(name string, args ...string) (string, error) {
	return try("runuser", append([]string{"-u", name, "--"}, args...)...)
}

// exitCode returns the code of a program that ended, else -1.
func exitCode(err error) int {
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		return e.ExitCode()
	}
	return -1
}

// eventually calls check every 50 ms until it returns nil.
func eventually(t *testing.T, within time.Duration, check func() error) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	late := time.After(within)
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("after %v still: %v", within, err)
		}
	}
}

// property returns what systemd says of a unit.
func property(t *testing.T, unit, name string) string {
	t.Helper()
	return strings.TrimSpace(run(t, "systemctl", "show", "--value", "--property="+name, unit))
}

func mainPID(t *testing.T) int {
	t.Helper()
	pid, err := strconv.Atoi(property(t, service, "MainPID"))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// restart restarts the service. The story restarts it more often than systemd
// lets a service start that fails.
func restart(t *testing.T) {
	t.Helper()
	run(t, "systemctl", "reset-failed", service)
	run(t, "systemctl", "restart", service)
}

// wantHealthy fails if a unit failed.
func wantHealthy(t *testing.T) {
	t.Helper()
	if out := run(t, "systemctl", "--failed", "--plain", "--no-legend", "--no-pager"); strings.TrimSpace(out) != "" {
		t.Errorf("failed units:\n%s", out)
	}
}

// statusOutput is what `inkan status --json` says, as far as the story needs it.
type statusOutput struct {
	Service struct {
		Version   string `json:"version"`
		PINMemory string `json:"pin_memory"`
		PeerCheck string `json:"peer_check"`
		Notices   []any  `json:"notices"`
	} `json:"service"`
	Readers []struct {
		Name    string `json:"name"`
		Present bool   `json:"card_present"`
	} `json:"readers"`
	Cards []struct {
		ID    string `json:"id"`
		State string `json:"state"`
		PIN   struct {
			Left  *int `json:"tries_left"`
			Known bool `json:"tries_known"`
			Wait  int  `json:"wait_seconds"`
		} `json:"pin"`
	} `json:"cards"`
}

func readStatus(name string) (s statusOutput, err error) {
	out, err := as(name, "inkan", "status", "--json")
	if err != nil && !strings.HasPrefix(out, "{") {
		return s, fmt.Errorf("inkan status as %s: %w: %s", name, err, out)
	}
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		return s, fmt.Errorf("%w: %s", err, out)
	}
	return s, nil
}

// awaitCard waits until the member sees a card with this many tries; -1 = any.
func awaitCard(t *testing.T, left int) {
	t.Helper()
	eventually(t, 15*time.Second, func() error {
		s, err := readStatus(member)
		switch {
		case err != nil:
			return err
		case len(s.Cards) != 1:
			return fmt.Errorf("%d cards are seen, want 1: %+v", len(s.Cards), s)
		case left >= 0 && (s.Cards[0].PIN.Left == nil || *s.Cards[0].PIN.Left != left):
			return fmt.Errorf("the card is %+v, want %d tries left", s.Cards[0], left)
		}
		return nil
	})
}

// credential is that of a user of the PC, with all groups.
func credential(t *testing.T, name string) *syscall.Credential {
	t.Helper()
	u, err := user.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	number := func(text string) uint32 {
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			t.Fatal(err)
		}
		return uint32(n)
	}
	c := &syscall.Credential{Uid: number(u.Uid), Gid: number(u.Gid)}
	groups, err := u.GroupIds()
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range groups {
		c.Groups = append(c.Groups, number(g))
	}
	return c
}

// debs returns the packages with these names.
func debs(t *testing.T, folder string, names ...string) []string {
	t.Helper()
	var files []string
	for _, name := range names {
		found, err := filepath.Glob(filepath.Join(folder, name+"_*.deb"))
		if err != nil || len(found) != 1 {
			t.Fatalf("%s has %q of %s, %v; want one package", folder, found, name, err)
		}
		files = append(files, found[0])
	}
	return files
}

// aptInstall installs packages as a person does; nothing comes from the network.
func aptInstall(t *testing.T, files ...string) {
	t.Helper()
	run(t, "apt-get", append([]string{"install", "--yes", "--no-install-recommends"}, files...)...)
}

// write writes a file of root's that all may read.
func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// explain prints what helps to see why a step failed.
func (*pc) explain(t *testing.T) {
	for _, args := range [][]string{
		{"systemctl", "status", "--no-pager", "--lines=5", "inkand.service", "inkan.socket", "inkan-pin.socket", "pcscd.service", "inkan-virtual-card.service"},
		{"journalctl", "--no-pager", "--lines=80", "--unit=inkand.service", "--unit=pcscd.service", "--unit=inkan-virtual-card.service", "--unit=polkit.service"},
	} {
		out, _ := try(args[0], args[1:]...) // whatever it prints
		t.Logf("%s:\n%s", strings.Join(args, " "), out)
	}
}
