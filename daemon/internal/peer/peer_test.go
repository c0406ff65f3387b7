package peer

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func callerOf(t *testing.T, p *process) *Caller {
	t.Helper()
	c, err := FromConn(p.conn)
	if err != nil {
		t.Fatalf("FromConn of a live process = %v", err)
	}
	t.Cleanup(c.Close)
	return c
}

// needPidfd skips what Linux before 6.5 cannot do.
func needPidfd(t *testing.T) {
	t.Helper()
	if Mode() != modePidfd {
		t.Skip("needs SO_PEERPIDFD, Linux 6.5")
	}
}

// refused fails unless the connection is refused, now and for an older Caller.
func refused(t *testing.T, p *process, older *Caller, want error) {
	t.Helper()
	if c, err := FromConn(p.conn); err == nil {
		c.Close()
		t.Errorf("FromConn = %s with pid %d, want an error", c.Program, c.PID)
	}
	if err := older.Alive(); !errors.Is(err, want) {
		t.Errorf("Alive() = %v, want %v", err, want)
	}
}

func TestLiveProcessIsKnownByWhatTheKernelSays(t *testing.T) {
	p := start(t, "connect", nil)
	c := callerOf(t, p)
	if int(c.UID) != os.Getuid() || int(c.GID) != os.Getgid() || int(c.PID) != p.cmd.Process.Pid {
		t.Errorf("caller = uid %d gid %d pid %d, want %d %d %d",
			c.UID, c.GID, c.PID, os.Getuid(), os.Getgid(), p.cmd.Process.Pid)
	}
	if Mode() == modePidfd {
		self, err := os.Executable()
		if err != nil || c.Program != self {
			t.Errorf("Program = %q, want %q (%v)", c.Program, self, err)
		}
	}
	if err := c.Alive(); err != nil {
		t.Errorf("Alive() = %v", err)
	}
}

func TestGroupsAreThoseOfTheCaller(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: setting groups")
	}
	var many []uint32
	for gid := range uint32(1000) { // more than the first buffer holds
		many = append(many, 5000+gid)
	}
	for _, groups := range [][]uint32{nil, {7}, many} {
		p := start(t, "connect", func(cmd *exec.Cmd) {
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 0, Gid: 4321, Groups: groups}}
		})
		c := callerOf(t, p)
		if !slices.Equal(c.Groups, groups) {
			t.Errorf("Groups = %v, want %v", c.Groups, groups)
		}
		if got, want := c.AllGroups(), append([]uint32{4321}, groups...); !slices.Equal(got, want) {
			t.Errorf("AllGroups() = %v, want %v", got, want)
		}
	}
}

func TestDeadProcessIsRefused(t *testing.T) {
	needPidfd(t)
	p := start(t, "connect", nil)
	c := callerOf(t, p)
	p.die()
	t.Run("as a zombie", func(t *testing.T) { refused(t, p, c, ErrGone) })
	p.reap()
	t.Run("after it was reaped", func(t *testing.T) { refused(t, p, c, ErrGone) })
}

func TestConnectionThatOutlivesItsProcessIsRefused(t *testing.T) {
	needPidfd(t)
	p := start(t, "pass", nil)
	c := callerOf(t, p)
	p.step()
	p.expect("holding") // by the heir, which has the connection and our pipe
	var info unix.Siginfo
	if err := unix.Waitid(unix.P_PID, p.cmd.Process.Pid, &info, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	refused(t, p, c, ErrGone)
}

func TestAnotherProgramInTheSameProcessIsRefused(t *testing.T) {
	needPidfd(t)
	p := start(t, "exec", nil)
	c := callerOf(t, p)
	p.step()
	p.step()
	p.expect("") // echoed by cat: exec is done
	if err := c.Alive(); !errors.Is(err, ErrChanged) {
		t.Errorf("Alive() = %v, want %v", err, ErrChanged)
	}
	now := callerOf(t, p) // a new look shows the new program
	if filepath.Base(now.Program) == filepath.Base(c.Program) {
		t.Errorf("Program = %s after exec", now.Program)
	}
}

func TestUpdatedProgramFileIsStillTheSameProgram(t *testing.T) {
	needPidfd(t)
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, self, 0o700); err != nil {
		t.Fatal(err)
	}
	p := start(t, "connect", func(cmd *exec.Cmd) { cmd.Path = path })
	c := callerOf(t, p)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := c.Alive(); err != nil {
		t.Errorf("Alive() after the file was deleted = %v", err)
	}
	again := callerOf(t, p)
	if c.Program != path || again.Program != "" {
		t.Errorf("Program = %q, and %q once it is deleted, want %q and none", c.Program, again.Program, path)
	}
	if err := os.WriteFile(path, self, 0o700); err != nil { // the update
		t.Fatal(err)
	}
	if again := callerOf(t, p); again.Program != "" || again.Runs(path) {
		t.Errorf("Program = %q once it is replaced, want none", again.Program)
	}
	for _, c := range []*Caller{c, again} {
		if err := c.Alive(); err != nil {
			t.Errorf("Alive() after the file was replaced = %v", err)
		}
	}
}

// The number of a dead caller is given to another process: neither the
// connection nor an older Caller takes that one for it.
func TestReusedProcessNumberIsRefused(t *testing.T) {
	needPidfd(t)
	p := start(t, "connect", nil)
	c := callerOf(t, p)
	p.die()
	p.reap()
	rogue := withNumber(t, c.PID)
	defer func() { _, _ = rogue.Process.Kill(), rogue.Wait() }()
	if _, err := executableOf(c.PID); err != nil {
		t.Fatalf("/proc says nothing about the new process: %v", err)
	}
	refused(t, p, c, ErrGone)
}

// withNumber starts a process that has this number.
func withNumber(t *testing.T, pid int32) *exec.Cmd {
	t.Helper()
	for range 100 {
		err := os.WriteFile("/proc/sys/kernel/ns_last_pid", []byte(strconv.Itoa(int(pid)-1)), 0)
		if err != nil {
			t.Skipf("needs a writable ns_last_pid (root): %v", err)
		}
		cmd := exec.Command("/bin/cat")
		if _, err := cmd.StdinPipe(); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if cmd.Process.Pid == int(pid) {
			return cmd
		}
		_, _ = cmd.Process.Kill(), cmd.Wait()
	}
	t.Skipf("other processes took the number %d in 100 rounds", pid)
	return nil
}

func TestOnlyAMissingSocketOptionMeansAnOldKernel(t *testing.T) {
	p := start(t, "connect", nil)
	for _, errno := range []syscall.Errno{unix.EINVAL, unix.ESRCH, unix.EMFILE, unix.ENFILE, unix.EPERM, unix.ENOMEM} {
		fail := func(int) (int, error) { return -1, errno }
		if c, err := fromConn(p.conn, fail); !errors.Is(err, errno) {
			t.Errorf("%v: FromConn = %v, %v, want the error", errno, c, err)
		}
		if got := mode(0, fail); got != modePidfd {
			t.Errorf("%v: Mode = %q, want %q", errno, got, modePidfd)
		}
	}
	old := func(int) (int, error) { return -1, unix.ENOPROTOOPT }
	c, err := fromConn(p.conn, old)
	if err != nil {
		t.Fatalf("FromConn on an old kernel = %v", err)
	}
	defer c.Close()
	if c.Program != "" || int(c.PID) != p.cmd.Process.Pid {
		t.Errorf("caller = %q with pid %d, want no program and pid %d", c.Program, c.PID, p.cmd.Process.Pid)
	}
	if err := c.Alive(); err != nil {
		t.Errorf("Alive() on an old kernel = %v", err)
	}
	if got := mode(0, old); got != modeUIDOnly {
		t.Errorf("Mode = %q, want %q", got, modeUIDOnly)
	}
}

func TestClosedCallerIsNotAlive(t *testing.T) {
	needPidfd(t)
	c := callerOf(t, start(t, "connect", nil))
	c.Close()
	c.Close()
	if err := c.Alive(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Alive() = %v, want os.ErrClosed", err)
	}
}

func TestCallerIsSafeForManyGoroutines(t *testing.T) {
	needPidfd(t)
	c := callerOf(t, start(t, "connect", nil))
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for range 200 {
				if err := c.Alive(); err != nil && !errors.Is(err, os.ErrClosed) {
					t.Errorf("Alive() = %v", err)
				}
			}
			if i == 0 {
				c.Close()
			}
		})
	}
	wg.Wait()
}

// openFiles counts our descriptors.
func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestNoDescriptorIsLeftBehind(t *testing.T) {
	needPidfd(t)
	live, dead := start(t, "connect", nil), start(t, "connect", nil)
	dead.die()
	before := openFiles(t)
	for range 50 {
		c, err := FromConn(live.conn)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		if _, err := FromConn(dead.conn); err == nil {
			t.Fatal("FromConn of a dead process succeeded")
		}
		_ = Mode()
	}
	if after := openFiles(t); after != before {
		t.Errorf("descriptors = %d before, %d after", before, after)
	}
}

func TestConnectionThatCannotBeAskedIsRefused(t *testing.T) {
	p := start(t, "connect", nil)
	_ = p.conn.Close()
	if c, err := FromConn(p.conn); err == nil {
		t.Errorf("FromConn of a closed connection = %v, want an error", c)
	}
	if _, err := executableOf(-1); err == nil {
		t.Error("executableOf(-1) = nil error")
	}
	if got := fmt.Sprint(ErrGone); got == "" {
		t.Error("ErrGone says nothing")
	}
}
