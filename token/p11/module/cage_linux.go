package module

import (
	"errors"
	"fmt"
	"math"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Limits of the process (getrlimit(2)). A module that wants more memory gets
// none and may end; everything in it is gone then, and nothing else is.
const (
	maxData  = 512 << 20 // bytes of private memory
	maxFile  = 64 << 20  // bytes of a file that it writes
	maxFiles = 256       // descriptors
)

// Confine confines the calling thread, and whatever is started from it, for
// good: no capabilities nor ways to new ones, no writing but to the folders
// given, no signals to others. What this kernel does not have is returned, and is
// no error. Only a process that starts in this cage is wholly in it: the threads
// that a process has already stay outside, and can be made to do things by a
// signal.
func Confine(writable []string) (missing []string, err error) {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("giving up new privileges: %w", err)
	}
	if missing, err = landlock(writable); err != nil {
		return nil, err
	}
	return missing, giveUpCapabilities()
}

// giveUpCapabilities leaves none to the calling thread and to what it starts.
// Where a service may not set them, as in the unit that is packaged, those of
// the thread stay until it ends; a program that a user other than root starts
// gets the ambient ones and no other (capabilities(7), execve).
func giveUpCapabilities() error {
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("giving up ambient capabilities: %w", err)
	}
	none := [2]unix.CapUserData{} // version 3 has two halves (capset(2))
	err := unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &none[0])
	if err != nil && (os.Geteuid() == 0 || !errors.Is(err, unix.EPERM)) {
		return fmt.Errorf("giving up capabilities: %w", err)
	}
	return nil
}

// cage does the rest from within: no network, no looking or reaching into other
// processes, bounded memory, no core dump. It is about every thread.
func cage() error {
	for resource, limit := range map[int]uint64{
		unix.RLIMIT_CORE: 0, unix.RLIMIT_DATA: maxData, unix.RLIMIT_FSIZE: maxFile, unix.RLIMIT_NOFILE: maxFiles,
	} {
		if err := unix.Setrlimit(resource, &unix.Rlimit{Cur: limit, Max: limit}); err != nil {
			return fmt.Errorf("limiting resource %d: %w", resource, err)
		}
	}
	return limitCalls()
}

// What landlock takes away: every way to change a file (landlock(7)), by the
// version of the kernel's interface that brought it.
const (
	writing = unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE |
		unix.LANDLOCK_ACCESS_FS_MAKE_CHAR | unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_REG |
		unix.LANDLOCK_ACCESS_FS_MAKE_SOCK | unix.LANDLOCK_ACCESS_FS_MAKE_FIFO | unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK |
		unix.LANDLOCK_ACCESS_FS_MAKE_SYM
	writing2 = unix.LANDLOCK_ACCESS_FS_REFER                                            // version 2
	writing3 = unix.LANDLOCK_ACCESS_FS_TRUNCATE                                         // version 3
	network4 = unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP // version 4
	scoped6  = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL    // version 6
)

// landlock confines the calling thread and those that it makes.
func landlock(writable []string) (missing []string, err error) {
	version, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return []string{"landlock: it can write wherever inkand can, and send signals"}, nil
	}
	rules, missing := rulesFor(version)
	//nolint:gosec // the only way to hand a struct to the kernel
	set, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&rules)), unsafe.Sizeof(rules), 0)
	if errno != 0 {
		return nil, fmt.Errorf("making landlock rules: %w", errno)
	}
	defer func() { _ = unix.Close(int(set)) }()
	if err := allowWriting(int(set), "/dev/null", unix.LANDLOCK_ACCESS_FS_WRITE_FILE); err != nil {
		return nil, err
	}
	for _, folder := range writable {
		if err := allowWriting(int(set), folder, rules.Access_fs); err != nil {
			return nil, err
		}
	}
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, set, 0, 0); errno != 0 {
		return nil, fmt.Errorf("restricting by landlock: %w", errno)
	}
	return missing, nil
}

// rulesFor returns what landlock of a version is asked for, and what it lacks.
func rulesFor(version uintptr) (rules unix.LandlockRulesetAttr, missing []string) {
	rules.Access_fs = writing
	for _, later := range []struct {
		version uintptr
		add     func()
		without string
	}{
		{2, func() { rules.Access_fs |= writing2 }, "landlock 2: moving files"},
		{3, func() { rules.Access_fs |= writing3 }, "landlock 3: truncating files"},
		{4, func() { rules.Access_net |= network4 }, ""}, // the system calls are limited, too
		{6, func() { rules.Scoped |= scoped6 }, "landlock 6: signals to other processes"},
	} {
		if version >= later.version {
			later.add()
		} else if later.without != "" {
			missing = append(missing, later.without)
		}
	}
	return rules, missing
}

func allowWriting(set int, path string, access uint64) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer func() { _ = unix.Close(fd) }()
	rule := unix.LandlockPathBeneathAttr{Allowed_access: access, Parent_fd: int32(fd)}
	//nolint:gosec // the only way to hand a struct to the kernel
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(set), unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&rule)), 0, 0, 0)
	if errno != 0 {
		return &os.PathError{Op: "landlock", Path: path, Err: errno}
	}
	return nil
}

// Offsets in struct seccomp_data (seccomp(2)); arguments of a call are
// little-endian, the low half first, and only that counts of those looked at.
const (
	dataNumber = 0
	dataArch   = 4
	dataArg0   = 16
)

// notClone are flags of clone(2) that no module needs: a process that is a child
// of inkand or nobody's, and rights of its own.
const notClone = unix.CLONE_PARENT | unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS |
	unix.CLONE_NEWIPC | unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET

// refused are system calls that no card needs.
func refused() []uint32 {
	return append(olderCalls(),
		unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_PIDFD_GETFD, unix.SYS_KCMP,
		unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER, // makes sockets unseen
		unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD,
		unix.SYS_KEYCTL, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY,
		unix.SYS_UNSHARE, unix.SYS_SETNS, unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_CHROOT,
		// Whoever leaves the group of the process would outlive it.
		unix.SYS_SETSID, unix.SYS_SETPGID,
		// What slows other processes of the same user down.
		unix.SYS_SETPRIORITY, unix.SYS_IOPRIO_SET, unix.SYS_MIGRATE_PAGES, unix.SYS_MOVE_PAGES, unix.SYS_PROCESS_MADVISE,
		// Landlock does not look at these.
		unix.SYS_FCHMOD, unix.SYS_FCHMODAT, unix.SYS_FCHMODAT2, unix.SYS_FCHOWN, unix.SYS_FCHOWNAT,
		unix.SYS_SETXATTR, unix.SYS_LSETXATTR, unix.SYS_FSETXATTR, unix.SYS_SETXATTRAT,
		unix.SYS_REMOVEXATTR, unix.SYS_LREMOVEXATTR, unix.SYS_FREMOVEXATTR, unix.SYS_REMOVEXATTRAT,
	)
}

// limitCalls refuses system calls for every thread: those that no card needs,
// sockets other than Unix ones, and what reaches into other processes or past
// this filter.
func limitCalls() error {
	program := []unix.SockFilter{
		load(dataArch),
		jump(unix.BPF_JEQ, auditArch, 1, 0),
		deny(unix.ENOSYS), // a foreign architecture has other numbers
		load(dataNumber),
		jump(unix.BPF_JGE, foreignNumbers, 0, 1),
		deny(unix.ENOSYS),
	}
	for _, number := range refused() {
		program = append(program, jump(unix.BPF_JEQ, number, 0, 1), deny(unix.EPERM))
	}
	for _, number := range []uint32{unix.SYS_SOCKET, unix.SYS_SOCKETPAIR} {
		program = append(program, limit(number, jump(unix.BPF_JEQ, unix.AF_UNIX, 1, 0), unix.EAFNOSUPPORT)...)
	}
	// 0 is the process, or thread, that calls.
	for _, number := range []uint32{
		unix.SYS_PRLIMIT64, unix.SYS_SCHED_SETAFFINITY, unix.SYS_SCHED_SETSCHEDULER, unix.SYS_SCHED_SETPARAM, unix.SYS_SCHED_SETATTR,
	} {
		program = append(program, limit(number, jump(unix.BPF_JEQ, 0, 1, 0), unix.EPERM)...)
	}
	program = append(program, limit(unix.SYS_CLONE, jump(unix.BPF_JSET, notClone, 0, 1), unix.EPERM)...)
	program = append(program,
		// Its flags are out of reach here; C libraries then use clone.
		jump(unix.BPF_JEQ, unix.SYS_CLONE3, 0, 1), deny(unix.ENOSYS),
		ret(unix.SECCOMP_RET_ALLOW))
	return filter(program, unix.SECCOMP_FILTER_FLAG_TSYNC)
}

// filter has the kernel run a program before each system call.
func filter(program []unix.SockFilter, flags uintptr) error {
	if len(program) > math.MaxUint16 {
		return errors.New("filter is too long")
	}
	prog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	//nolint:gosec // the only way to hand a struct to the kernel
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		return fmt.Errorf("limiting system calls: %w", errno)
	}
	return nil
}

// limit allows a call only where test, about its first argument, skips one
// instruction.
func limit(number uint32, test unix.SockFilter, otherwise unix.Errno) []unix.SockFilter {
	return []unix.SockFilter{
		jump(unix.BPF_JEQ, number, 0, 4), load(dataArg0), test, deny(otherwise), ret(unix.SECCOMP_RET_ALLOW),
	}
}

func deny(errno unix.Errno) unix.SockFilter { return ret(unix.SECCOMP_RET_ERRNO | uint32(errno)) }

func load(offset uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
}

func jump(test uint16, value uint32, yes, no uint8) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | test | unix.BPF_K, Jt: yes, Jf: no, K: value}
}

func ret(action uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: action}
}
