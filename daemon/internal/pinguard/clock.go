package pinguard

import (
	"crypto/sha256"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Boot is a moment that no change of the clock moves: the running boot and the
// time since it began, which goes on while the PC sleeps (CLOCK_BOOTTIME,
// clock_gettime(2)).
type Boot struct {
	ID    [16]byte
	Since time.Duration
}

// SystemBoot returns the clock of this PC. A kernel without a boot id has the
// zero one: then a restart of the PC looks like a clock that went back, and
// waits begin again. The id is read once: a process does not outlive a boot.
func SystemBoot() func() Boot {
	text, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	id := short(text)
	return func() Boot {
		var now unix.Timespec
		// It cannot fail with a clock that exists since Linux 2.6.39.
		_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &now)
		return Boot{ID: id, Since: time.Duration(now.Nano())}
	}
}

// Origin is where a state directory was made. A zero field is not known.
type Origin struct {
	Machine [16]byte // of /etc/machine-id, hashed
	Dir     uint64   // FS.Inode of the state directory
	File    uint64   // File.Inode of the journal
}

// moved says what differs between two origins, or "".
func (o Origin) moved(now Origin) string {
	differ := func(a, b uint64) bool { return a != 0 && b != 0 && a != b }
	switch {
	case o.Machine != now.Machine && o.Machine != [16]byte{} && now.Machine != [16]byte{}:
		return "it was made on another PC"
	case differ(o.Dir, now.Dir):
		return "it is not the directory that it was made in"
	case differ(o.File, now.File):
		return "the PIN-try journal is a copy"
	}
	return ""
}

// machine returns the hashed machine id (machine-id(5): it is not to be told
// as it is), zero if there is none.
func machine() [16]byte {
	id, err := os.ReadFile("/etc/machine-id")
	if err != nil || len(id) == 0 {
		return [16]byte{}
	}
	return short([]byte(fmt.Sprintf("inkan state %s", id)))
}

func short(b []byte) [16]byte {
	if len(b) == 0 {
		return [16]byte{}
	}
	sum := sha256.Sum256(b)
	return [16]byte(sum[:16])
}

// stamp is a Boot as it is written.
type stamp struct {
	boot  [16]byte
	since int64 // ns
}

func (b Boot) stamp() stamp { return stamp{b.ID, int64(b.Since)} }

// remaining returns how much of a wait that began at s is left. After a reboot
// it begins again with the start of the guard: nobody knows how long the PC
// was off.
func (s stamp) remaining(wait time.Duration, opened, now Boot) time.Duration {
	if s == (stamp{}) {
		return 0 // there was none
	}
	began := time.Duration(s.since)
	if s.boot != now.ID || began > now.Since {
		began = opened.Since
	}
	return max(0, wait-(now.Since-began))
}
