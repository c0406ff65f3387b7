package promptcmd

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// runtimesOwn is what Go itself puts into the environment of a setgid program
// (runtime.secureEnv, Go 1.21 and newer).
const runtimesOwn = "GOTRACEBACK=none"

// languageOnly keeps what says the language, and reports whether there was
// more.
func languageOnly(environ []string) (clean []string, more bool) {
	clean = []string{}
	for _, entry := range environ {
		switch name, _, _ := strings.Cut(entry, "="); {
		case name == "LANG" || name == "LC_ALL" || name == "LC_MESSAGES":
			clean = append(clean, entry)
		case entry != runtimesOwn:
			more = true
		}
	}
	return clean, more
}

// confine makes the process one that nobody of its user can look into, with no
// more than it was given on purpose.
func confine(keep ...int) error {
	if uid, euid, suid := unix.Getresuid(); uid != euid || uid != suid {
		return errors.New("installed setuid: it must be setgid to group inkan-prompt and nothing more")
	}
	debug.SetTraceback("none")
	// Also after the group is gone: whoever changes its group is dumpable again
	// only if /proc/sys/fs/suid_dumpable says so (prctl(2), PR_SET_DUMPABLE).
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("making the process undumpable: %w", err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("turning core dumps off: %w", err)
	}
	return closeOthers(keep)
}

// closeOthers closes what the parent left open but for stderr and keep, and
// points stdin and stdout to nowhere. Go's own descriptors, which have the
// close-on-exec flag, stay: execve(2) has closed all others that had it, and
// the runtime would go on using their numbers.
func closeOthers(keep []int) error {
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return fmt.Errorf("listing descriptors: %w", err)
	}
	for _, entry := range open {
		fd, err := strconv.Atoi(entry.Name())
		if err != nil || fd < firstOther || slices.Contains(keep, fd) {
			continue
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			_ = unix.Close(fd) // only another process could have buffered anything
		}
	}
	for _, fd := range keep {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err != nil || flags&unix.FD_CLOEXEC != 0 {
			return fmt.Errorf("descriptor %d was not handed over", fd)
		}
		unix.CloseOnExec(fd)
	}
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("opening /dev/null: %w", err)
	}
	defer unix.Close(null) // nothing was written
	for fd := range 2 {
		if err := unix.Dup3(null, fd, 0); err != nil {
			return fmt.Errorf("pointing descriptor %d to nowhere: %w", fd, err)
		}
	}
	return nil
}

// dropGroup gives the group of the file up for good, in all threads
// (nptl(7)): effective and saved become the real one.
func dropGroup() error {
	gid, _, _ := unix.Getresgid()
	if err := unix.Setresgid(gid, gid, gid); err != nil {
		return fmt.Errorf("giving the group up: %w", err)
	}
	if now, effective, saved := unix.Getresgid(); now != gid || effective != gid || saved != gid {
		return fmt.Errorf("giving the group up: groups are still %d, %d, %d", now, effective, saved)
	}
	// The change of credentials may have made it dumpable again.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("making the process undumpable: %w", err)
	}
	return nil
}
