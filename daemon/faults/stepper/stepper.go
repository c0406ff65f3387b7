// Package stepper runs a program and stops it at each system call that writes
// or syncs, of whichever thread, so that it can be killed at the n-th.
//
// It guarantees that calls are numbered over all threads, in the order in which
// the kernel got them, and that the program is killed when the tracer ends. A
// caller decides at each call, quickly: the thread waits. It needs Linux 5.3
// (PTRACE_GET_SYSCALL_INFO).
package stepper

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Call is one system call that begins or has ended.
type Call struct {
	Name  string // "pwrite64"
	Path  string // of the file, as /proc/PID/fd shows it, or of a renamed one
	Ended bool   // it was done, and its thread does not know yet
}

// watched are the calls at which a program is stopped. Those that take a path
// have its argument's number; others have a descriptor first.
func watched() map[uint64]watch {
	all := map[uint64]watch{
		unix.SYS_WRITE: {"write", -1}, unix.SYS_PWRITE64: {"pwrite64", -1}, unix.SYS_WRITEV: {"writev", -1},
		unix.SYS_FSYNC: {"fsync", -1}, unix.SYS_FDATASYNC: {"fdatasync", -1},
		unix.SYS_SENDMSG: {"sendmsg", -1}, unix.SYS_SENDTO: {"sendto", -1},
		unix.SYS_RENAMEAT: {"rename", 3}, unix.SYS_RENAMEAT2: {"rename", 3},
	}
	maps.Copy(all, oldCalls())
	return all
}

type watch struct {
	name string
	path int // argument that is the new path; -1 = the first is a descriptor
}

// Process is a program being stepped.
type Process struct {
	cmd    *exec.Cmd
	done   chan struct{}
	status syscall.WaitStatus
	err    error
}

// Start starts a command. decide is asked at each call, before it and after it;
// true kills the program there.
func Start(cmd *exec.Cmd, decide func(Call) bool) (*Process, error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	// A process group of its own, so that what else this thread ever started is
	// not taken for one of its threads.
	cmd.SysProcAttr.Ptrace, cmd.SysProcAttr.Setpgid = true, true
	p := &Process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		// All ptrace(2) calls must come from the thread that began.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(p.done)
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = p.step(decide)
			_ = cmd.Wait() // it was reaped here; this lets go of what cmd keeps
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// Wait waits for the end of the program and returns how it ended.
func (p *Process) Wait() (syscall.WaitStatus, error) {
	<-p.done
	return p.status, p.err
}

// step lets the program run from stop to stop.
func (p *Process) step(decide func(Call) bool) error {
	pid := p.cmd.Process.Pid
	var status unix.WaitStatus
	if _, err := unix.Wait4(pid, &status, 0, nil); err != nil {
		return fmt.Errorf("waiting for the program: %w", err)
	}
	const options = unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_EXITKILL
	if err := unix.PtraceSetOptions(pid, options); err != nil {
		return errors.Join(fmt.Errorf("tracing the program: %w", err), p.cmd.Process.Kill())
	}
	t := tracer{pid: pid, decide: decide, watched: watched(), calls: map[int]Call{}}
	_ = unix.PtraceSyscall(pid, 0) // a program that is gone is seen below
	for {
		tid, err := unix.Wait4(-pid, &status, unix.WALL|unix.WNOTHREAD, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("waiting for a thread: %w", err)
		}
		if status.Exited() || status.Signaled() {
			if tid == pid { // the last of its threads
				p.status = syscall.WaitStatus(status)
				return nil
			}
			continue
		}
		signal := t.stopped(tid, status)
		// A thread that was killed meanwhile is seen above.
		_ = unix.PtraceSyscall(tid, signal)
	}
}

// tracer is what is known of a program's threads.
type tracer struct {
	pid     int
	decide  func(Call) bool
	watched map[uint64]watch
	calls   map[int]Call // that threads are in
}

// stopped looks at a thread that stopped and returns the signal it must get.
func (t *tracer) stopped(tid int, status unix.WaitStatus) int {
	switch signal := status.StopSignal(); signal {
	case unix.SIGTRAP | 0x80:
		t.call(tid)
		return 0
	case unix.SIGTRAP, unix.SIGSTOP: // a new thread, here and there
		return 0
	default:
		return int(signal)
	}
}

// info is struct ptrace_syscall_info (ptrace(2)) as far as it is needed.
type info struct {
	op   uint8
	_    [7]byte
	_    [2]uint64 // instruction and stack pointer
	nr   uint64    // of an entry
	args [6]uint64
}

const (
	getSyscallInfo = 0x420E // PTRACE_GET_SYSCALL_INFO
	atEntry        = 1      // PTRACE_SYSCALL_INFO_ENTRY
)

// call looks at a thread that begins or ends a system call.
func (t *tracer) call(tid int) {
	var in info
	//nolint:gosec // the only way to hand a struct to the kernel
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, getSyscallInfo, uintptr(tid), unsafe.Sizeof(in), uintptr(unsafe.Pointer(&in)), 0, 0)
	if errno != 0 {
		return // it was killed meanwhile
	}
	if in.op != atEntry {
		if c, is := t.calls[tid]; is {
			delete(t.calls, tid)
			c.Ended = true
			t.ask(c)
		}
		return
	}
	w, is := t.watched[in.nr]
	if !is {
		return
	}
	c := Call{Name: w.name, Path: t.path(tid, w, in)}
	t.calls[tid] = c
	t.ask(c)
}

func (t *tracer) ask(c Call) {
	if t.decide(c) {
		_ = unix.Kill(t.pid, unix.SIGKILL)
	}
}

// path returns what a call is about.
func (t *tracer) path(tid int, w watch, in info) string {
	if w.path < 0 {
		path, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", t.pid, int32(in.args[0])))
		if err != nil {
			return "?"
		}
		return path
	}
	b := make([]byte, unix.PathMax)
	n, err := unix.PtracePeekData(tid, uintptr(in.args[w.path]), b)
	if err != nil && n == 0 {
		return "?"
	}
	path, _, _ := strings.Cut(string(b[:n]), "\x00")
	return path
}
