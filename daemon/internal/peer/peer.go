// Package peer says who is at the other end of a Unix socket, as the kernel
// says it.
//
// It guarantees that a [Caller] was alive when it was made, that its user,
// groups, process and program belong to one and the same process, that
// [Caller.Program] names the file which that process runs, and that
// [Caller.Alive] never takes a dead process, another process with its number
// or another program for it. The caller must ask Alive again before a PIN is
// used and before a signature is released, and must close what [FromConn]
// returns; [Credentials] does so for gRPC.
//
// A process that hands its open connection to another and stays alive answers
// for what the other does: the kernel shows the process that connected.
package peer

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Modes of [Mode].
const (
	modePidfd   = "pidfd"
	modeUIDOnly = "uid only"
)

// maxGroups is the most groups a process can have: NGROUPS_MAX of
// linux/limits.h.
const maxGroups = 65536

// ErrGone means that the process which connected does not run any more.
var ErrGone = errors.New("the process that connected is gone")

// ErrChanged means that the process runs another program than when it
// connected.
var ErrChanged = errors.New("the process that connected runs another program now")

// Caller is the process at the other end, as of connect(2). Its methods may be
// used by many goroutines.
type Caller struct {
	UID    uint32
	GID    uint32   // effective group
	Groups []uint32 // supplementary groups; see [Caller.AllGroups]
	PID    int32    // 0 if it is not visible from here
	// Program is the path of the executable, "" when it is not readable (other
	// user, no /proc) or not certain: in mode "uid only", and when the file at
	// that path is another one to us. The path is that of the process's own
	// mount namespace, where its user can put any file in the place of any
	// other; it also names a file that was since deleted or replaced.
	Program string

	executable *executable
	pidfd      *os.File // nil in mode "uid only"; closed at the latest with the Caller's memory
}

// FromConn returns who connected, or an error if that cannot be told or the
// process has ended: then the connection must be refused.
func FromConn(conn *net.UnixConn) (*Caller, error) {
	return fromConn(conn, peerPidfd)
}

func fromConn(conn *net.UnixConn, peerPidfd func(fd int) (int, error)) (*Caller, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("reaching peer's socket: %w", err)
	}
	var caller *Caller
	var inner error
	if err := raw.Control(func(fd uintptr) { caller, inner = fromFD(int(fd), peerPidfd) }); err != nil {
		return nil, fmt.Errorf("reaching peer's socket: %w", err)
	}
	return caller, inner
}

// fromFD keeps the order that makes the answers belong together: descriptor of
// the process, then what /proc says under its number, then "still alive".
func fromFD(fd int, peerPidfd func(fd int) (int, error)) (*Caller, error) {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return nil, fmt.Errorf("asking for peer's user: %w", err)
	}
	groups, err := peerGroups(fd)
	if err != nil {
		return nil, fmt.Errorf("asking for peer's groups: %w", err)
	}
	c := &Caller{UID: cred.Uid, GID: cred.Gid, PID: cred.Pid, Groups: groups}
	pidfd, err := peerPidfd(fd)
	if errors.Is(err, unix.ENOPROTOOPT) {
		return c, nil // Linux before 6.5: what /proc says could be about another process
	}
	if err != nil {
		// EINVAL and ESRCH mean a dead peer on Linux 6.5 to 6.15, EMFILE that we
		// are out of descriptors; none of them means an old kernel.
		return nil, fmt.Errorf("asking for peer's process: %w", err)
	}
	c.pidfd = os.NewFile(uintptr(pidfd), "pidfd")
	if exe, err := executableOf(c.PID); err == nil {
		c.executable = exe
		if c.Runs(exe.path) {
			c.Program = exe.path
		}
	}
	if err := c.running(); err != nil {
		_ = c.pidfd.Close()
		return nil, err
	}
	return c, nil
}

// Runs reports whether the program of the process, as of connect(2), is the
// file that is at a path now, as seen from here and not by the process.
func (c *Caller) Runs(path string) bool {
	var st unix.Stat_t
	if c.executable == nil || unix.Lstat(path, &st) != nil {
		return false
	}
	return st.Dev == c.executable.dev && st.Ino == c.executable.ino && st.Mode&unix.S_IFMT == unix.S_IFREG
}

// SeesOurProcesses reports whether the process is in our own PID namespace,
// and that is certain. In a PID namespace of its own user, a process may say of
// what it sends that any other process there sent it (unix(7),
// SCM_CREDENTIALS): its number on a packet proves nothing.
func (c *Caller) SeesOurProcesses() bool {
	var own, its unix.Stat_t
	if c.executable == nil || unix.Stat("/proc/self/ns/pid", &own) != nil ||
		unix.Stat(fmt.Sprintf("/proc/%d/ns/pid", c.PID), &its) != nil || c.running() != nil {
		return false
	}
	return own.Dev == its.Dev && own.Ino == its.Ino
}

// AllGroups returns the effective and the supplementary groups.
func (c *Caller) AllGroups() []uint32 {
	return append([]uint32{c.GID}, c.Groups...)
}

// Alive returns nil if the process that connected still runs, and still runs
// the program that it ran then; an error that is [ErrGone], [ErrChanged] or,
// after Close, [os.ErrClosed] otherwise. In mode "uid only" there is nothing
// to ask and it returns nil.
//
// A program that could be read once and cannot be read any more counts as
// changed; one that never could be read is not looked at.
func (c *Caller) Alive() error {
	if c.pidfd == nil {
		return nil
	}
	changed := false
	if c.executable != nil {
		now, err := executableOf(c.PID)
		changed = err != nil || *now != *c.executable
	}
	if err := c.running(); err != nil {
		return err
	}
	if changed {
		return fmt.Errorf("process %d, which was %s: %w", c.PID, c.executable.path, ErrChanged)
	}
	return nil
}

// running polls the descriptor of the process. Nothing else tells the living
// from the dead: for a zombie SO_PEERPIDFD and signal 0 both succeed (seen on
// Linux 6.18).
func (c *Caller) running() error {
	raw, err := c.pidfd.SyscallConn()
	if err != nil {
		return fmt.Errorf("polling process %d: %w", c.PID, err)
	}
	ready := 0
	closed := raw.Control(func(fd uintptr) {
		for {
			ready, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
			if !errors.Is(err, unix.EINTR) {
				return
			}
		}
	})
	if closed != nil {
		return fmt.Errorf("polling process %d: %w", c.PID, os.ErrClosed)
	}
	if err != nil {
		return fmt.Errorf("polling process %d: %w", c.PID, err)
	}
	if ready != 0 {
		return fmt.Errorf("process %d: %w", c.PID, ErrGone)
	}
	return nil
}

// Close lets go of the process. It may be called more than once.
func (c *Caller) Close() {
	if c.pidfd != nil {
		_ = c.pidfd.Close()
	}
}

// executable tells one program file from another.
type executable struct {
	// path is only compared with itself: see [Caller.Program].
	path     string
	dev, ino uint64
}

// executableOf reads what the process of this number runs. A file that was
// deleted or replaced meanwhile (an update) stays the same executable.
func executableOf(pid int32) (*executable, error) {
	link := fmt.Sprintf("/proc/%d/exe", pid)
	var st unix.Stat_t
	if err := unix.Stat(link, &st); err != nil {
		return nil, fmt.Errorf("reading %s: %w", link, err)
	}
	path, err := os.Readlink(link)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", link, err)
	}
	// proc(5), /proc/pid/exe: " (deleted)" is appended once the file is unlinked.
	path = strings.TrimSuffix(path, " (deleted)")
	return &executable{path: path, dev: st.Dev, ino: st.Ino}, nil
}

// peerPidfd asks for a descriptor of the process that connected (Linux 6.5).
func peerPidfd(fd int) (int, error) {
	return unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEERPIDFD)
}

// peerGroups asks for the supplementary groups (Linux 4.13). The kernel
// answers ERANGE and the size needed when the buffer is too small.
func peerGroups(fd int) ([]uint32, error) {
	const each = 4 // bytes of a gid_t
	groups := make([]uint32, 64)
	for {
		size := uint32(len(groups) * each)
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&groups[0])), uintptr(unsafe.Pointer(&size)), 0) //nolint:gosec // getsockopt(2) has no wrapper for a list of gid_t; the kernel writes at most size bytes
		count := int(size / each)
		if errno == 0 {
			return slices.Clip(groups[:count]), nil
		}
		if errno != unix.ERANGE || count <= len(groups) || count > maxGroups {
			return nil, errno
		}
		groups = make([]uint32, count)
	}
}

// Mode says how surely callers are known on this machine: "pidfd", or
// "uid only" on Linux before 6.5, where a program is never certain.
func Mode() string {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return modePidfd // callers are refused, not trusted, while this lasts
	}
	defer func() { _, _ = unix.Close(pair[0]), unix.Close(pair[1]) }()
	return mode(pair[0], peerPidfd)
}

func mode(fd int, peerPidfd func(fd int) (int, error)) string {
	pidfd, err := peerPidfd(fd)
	if errors.Is(err, unix.ENOPROTOOPT) {
		return modeUIDOnly
	}
	if err == nil {
		_ = unix.Close(pidfd)
	}
	return modePidfd
}
