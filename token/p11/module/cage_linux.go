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

// cage confines the process for good: no network, no signals to others, no
// looking into other processes, no writing but to the folders given, bounded
// memory, no core dump. It confines the calling thread and all that it makes;
// system calls are limited for every thread. What this kernel does not have is
// returned, and is no error.
func cage(writable []string) (missing []string, err error) {
	for resource, limit := range map[int]uint64{
		unix.RLIMIT_CORE: 0, unix.RLIMIT_DATA: maxData, unix.RLIMIT_FSIZE: maxFile, unix.RLIMIT_NOFILE: maxFiles,
	} {
		if err := unix.Setrlimit(resource, &unix.Rlimit{Cur: limit, Max: limit}); err != nil {
			return nil, fmt.Errorf("limiting resource %d: %w", resource, err)
		}
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("giving up new privileges: %w", err)
	}
	missing, err = landlock(writable)
	if err != nil {
		return nil, err
	}
	return missing, limitCalls()
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
		return []string{"landlock: it can write wherever inkand can"}, nil
	}
	rules := unix.LandlockRulesetAttr{Access_fs: writing}
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

// Offsets in struct seccomp_data (seccomp(2)); the first argument of a call is
// little-endian, its low half first.
const (
	dataNumber = 0
	dataArch   = 4
	dataArg0   = 16
)

// limitCalls refuses system calls that no card needs, for every thread: sockets
// other than Unix ones, and what reaches into other processes or past this
// filter.
func limitCalls() error {
	deny := func(errno unix.Errno) unix.SockFilter { return ret(unix.SECCOMP_RET_ERRNO | uint32(errno)) }
	program := []unix.SockFilter{
		load(dataArch),
		jump(unix.BPF_JEQ, auditArch, 1, 0),
		deny(unix.ENOSYS), // a foreign architecture has other numbers
		load(dataNumber),
		jump(unix.BPF_JGE, foreignNumbers, 0, 1),
		deny(unix.ENOSYS),
	}
	for _, number := range []uint32{
		unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_PIDFD_GETFD, unix.SYS_KCMP,
		unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER, // makes sockets unseen
		unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD,
		unix.SYS_KEYCTL, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY,
		unix.SYS_UNSHARE, unix.SYS_SETNS, unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_CHROOT,
	} {
		program = append(program, jump(unix.BPF_JEQ, number, 0, 1), deny(unix.EPERM))
	}
	program = append(program,
		jump(unix.BPF_JEQ, unix.SYS_SOCKET, 0, 3),
		load(dataArg0),
		jump(unix.BPF_JEQ, unix.AF_UNIX, 1, 0),
		deny(unix.EAFNOSUPPORT),
		ret(unix.SECCOMP_RET_ALLOW),
	)
	if len(program) > math.MaxUint16 {
		return errors.New("filter is too long")
	}
	filter := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	//nolint:gosec // the only way to hand a struct to the kernel
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&filter)))
	if errno != 0 {
		return fmt.Errorf("limiting system calls: %w", errno)
	}
	return nil
}

func load(offset uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
}

func jump(test uint16, value uint32, yes, no uint8) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | test | unix.BPF_K, Jt: yes, Jf: no, K: value}
}

func ret(action uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: action}
}
