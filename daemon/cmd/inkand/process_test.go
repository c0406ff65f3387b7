package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestARunningInkandIsClosedToItsOwnUser: whoever runs inkand cannot trace it,
// read its memory or make it dump core. Root is no judge of that, and so runs
// it as nobody.
func TestARunningInkandIsClosedToItsOwnUser(t *testing.T) {
	run, err := os.MkdirTemp("", "inkan-run")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(run) })
	ready, announce, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ready.Close() }() // was only read
	cmd := exec.Command(forNobody(t))
	cmd.Args = []string{
		"inkand", "serve", "--ready-fd", "3", "--virtual", "--state", filepath.Join(run, "state"),
		"--socket", filepath.Join(run, "inkan.sock"), "--pin-socket", filepath.Join(run, "pin.sock"),
	}
	cmd.ExtraFiles, cmd.Dir, cmd.Env = []*os.File{announce}, run, []string{"LC_ALL=C"}
	cmd.Stderr = t.Output()
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		if err := os.Chown(run, 65534, 65534); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(cmd.Start(), announce.Close()); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := errors.Join(cmd.Process.Signal(os.Interrupt), cmd.Wait()); err != nil {
			t.Errorf("stopping inkand: %v", err)
		}
	}()
	if line, err := bufio.NewReader(ready).ReadString('\n'); line != "READY=1\n" {
		t.Fatalf("inkand says %q, %v", line, err)
	}
	// proc(5), /proc/pid: what is not dumpable belongs to root there.
	proc := fmt.Sprintf("/proc/%d/", cmd.Process.Pid)
	info, err := os.Stat(proc + "mem")
	if err != nil {
		t.Fatal(err)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !ok || st.Uid != 0 {
		t.Errorf("the memory of inkand belongs to its user")
	}
	limits, err := os.ReadFile(proc + "limits")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(limits)) {
		if rest, ok := strings.CutPrefix(line, "Max core file size"); ok && strings.Join(strings.Fields(rest), " ") != "0 0 bytes" {
			t.Errorf("core files may have %s", rest)
		}
	}
}
