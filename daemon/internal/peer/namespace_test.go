package peer

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// inNamespaces starts a role that connects out of new user, PID and mount
// namespaces, by a program that was put in the place of another one.
func inNamespaces(t *testing.T, flags, inPlaceOf string) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return start(t, "connect", func(cmd *exec.Cmd) {
		if cmd.Path, err = exec.LookPath("unshare"); err != nil {
			t.Fatal(err)
		}
		cmd.Args = []string{"unshare", flags, "/bin/sh", "-c", `mount --bind "$1" "$2" && exec "$2"`, "sh", self, inPlaceOf}
	})
}

// Everybody may mount over any path in namespaces of their own.
func TestAProgramMountedOverAnotherIsNotTakenForIt(t *testing.T) {
	needPidfd(t)
	listed := filepath.Join(t.TempDir(), "listed")
	if err := os.WriteFile(listed, nil, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{listed, "/bin/cat"} {
		c := callerOf(t, inNamespaces(t, "-Urm", path))
		if c.Program != "" || c.Runs(path) {
			t.Errorf("Program = %q, runs %s: %v, want none", c.Program, path, c.Runs(path))
		}
		if c.executable == nil || filepath.Base(c.executable.path) != filepath.Base(path) {
			t.Errorf("executable %v: the kernel shows no path that could be mistaken", c.executable)
		}
		if err := c.Alive(); err != nil {
			t.Errorf("Alive() = %v", err)
		}
	}
}

func TestAFileNamedAsIfItWereDeletedIsNotTakenForAnother(t *testing.T) {
	needPidfd(t)
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	listed := filepath.Join(t.TempDir(), "listed")
	for _, path := range []string{listed, listed + " (deleted)"} {
		if err := os.WriteFile(path, self, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	c := callerOf(t, start(t, "connect", func(cmd *exec.Cmd) { cmd.Path = listed + " (deleted)" }))
	if c.Program != "" || c.Runs(listed) {
		t.Errorf("Program = %q, runs it: %v, want none", c.Program, c.Runs(listed))
	}
}

func TestRunsIsAboutTheFileItself(t *testing.T) {
	needPidfd(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := callerOf(t, start(t, "connect", nil))
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(self, link); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{self: true, link: false, link + "2": false, "/bin/cat": false} {
		if got := c.Runs(path); got != want {
			t.Errorf("Runs(%s) = %v, want %v", path, got, want)
		}
	}
}

func TestAProcessOfAnotherPIDNamespaceIsKnown(t *testing.T) {
	needPidfd(t)
	if c := callerOf(t, start(t, "connect", nil)); !c.SeesOurProcesses() {
		t.Error("a child of this process is said to see other processes")
	}
	c := callerOf(t, inNamespaces(t, "-Urmpf", "/bin/cat"))
	if c.SeesOurProcesses() || c.PID == 0 {
		t.Errorf("process %d of its own PID namespace is said to see ours", c.PID)
	}
}
