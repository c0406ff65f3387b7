package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/inkan-project/inkan/token"
)

// lockName is the file in the state directory that one inkand locks.
const lockName = "lock"

// stateDir is a state directory that this process owns until Close.
type stateDir struct {
	path string
	lock *os.File
}

// openState makes the directory if needed, checks that it is inkand's alone
// and takes its lock: before anything else is touched. Errors are
// [*token.Error] of kind KindStateNotWritable or KindStateInUse.
func openState(path string) (*stateDir, error) {
	unusable := func(why string, err error) error {
		return token.NewError(token.KindStateNotWritable, "path", path, "detail", why).Because(err)
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, unusable(reason(err), err)
	}
	return lockState(path)
}

// lockState is openState for a directory that must be there.
func lockState(path string) (*stateDir, error) {
	unusable := func(why string, err error) error {
		return token.NewError(token.KindStateNotWritable, "path", path, "detail", why).Because(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, unusable(reason(err), err)
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.IsDir():
		return nil, unusable("it is not a directory", nil)
	case !ok || int(owner.Uid) != os.Geteuid():
		return nil, unusable("it belongs to another user", nil)
	case info.Mode().Perm()&0o022 != 0:
		return nil, unusable("others may write to it", nil)
	}
	lock, err := os.OpenFile(filepath.Join(path, lockName), os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, unusable(reason(err), err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		holder := readHolder(lock)
		_ = lock.Close() // it was only read
		return nil, token.NewError(token.KindStateInUse, "path", path, "detail", holder).Because(err)
	}
	s := &stateDir{path, lock}
	if err := s.sign(); err != nil {
		return nil, unusable(reason(err), errors.Join(err, s.Close()))
	}
	return s, nil
}

// sign writes who holds the lock, for people: the lock itself is the kernel's.
func (s *stateDir) sign() error {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		boot = []byte("unknown")
	}
	if err := s.lock.Truncate(0); err != nil {
		return err
	}
	_, err = s.lock.WriteAt(fmt.Appendf(nil, "pid %d boot %s\n", os.Getpid(), strings.TrimSpace(string(boot))), 0)
	return err
}

// readHolder returns who says to hold the lock.
func readHolder(lock *os.File) string {
	b := make([]byte, 128)
	n, _ := lock.ReadAt(b, 0) // whatever is there helps
	if line, _, ok := strings.Cut(string(b[:n]), " boot "); ok {
		return line
	}
	return "it did not say who it is"
}

// Close gives the lock back.
func (s *stateDir) Close() error { return s.lock.Close() }

// reason says why a path could not be used, without repeating the path.
func reason(err error) string {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err.Error()
	}
	return err.Error()
}
