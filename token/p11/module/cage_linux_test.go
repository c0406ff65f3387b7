package module

import (
	"runtime"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func TestWhatAnOlderKernelLacksIsSaid(t *testing.T) {
	moving, truncating, signals := "landlock 2: moving files", "landlock 3: truncating files", "landlock 6: signals to other processes"
	for version, want := range map[uintptr][]string{
		1: {moving, truncating, signals},
		2: {truncating, signals},
		3: {signals},
		4: {signals},
		5: {signals},
		6: nil,
		9: nil,
	} {
		rules, missing := rulesFor(version)
		if !slices.Equal(missing, want) {
			t.Errorf("landlock %d lacks %q, want %q", version, missing, want)
		}
		// What a kernel does not know it refuses as a whole.
		for since, has := range map[uintptr]bool{
			2: rules.Access_fs&unix.LANDLOCK_ACCESS_FS_REFER != 0,
			3: rules.Access_fs&unix.LANDLOCK_ACCESS_FS_TRUNCATE != 0,
			4: rules.Access_net != 0,
			6: rules.Scoped != 0,
		} {
			if has != (version >= since) {
				t.Errorf("landlock %d: what version %d brought is asked for: %v", version, since, has)
			}
		}
	}
}

func TestWithoutLandlockItSaysWhatTheModuleCanDo(t *testing.T) {
	done := make(chan struct{})
	go func() { // on a thread that ends with it
		defer close(done)
		runtime.LockOSThread()
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			t.Errorf("giving up new privileges: %v", err)
		}
		if err := filter([]unix.SockFilter{
			load(dataNumber),
			jump(unix.BPF_JEQ, unix.SYS_LANDLOCK_CREATE_RULESET, 0, 1), deny(unix.ENOSYS),
			ret(unix.SECCOMP_RET_ALLOW),
		}, 0); err != nil {
			t.Error(err)
		}
		missing, err := Confine([]string{t.TempDir()})
		if want := []string{"landlock: it can write wherever inkand can, and send signals"}; err != nil || !slices.Equal(missing, want) {
			t.Errorf("a kernel without landlock lacks %q, %v, want %q", missing, err, want)
		}
	}()
	<-done
}
