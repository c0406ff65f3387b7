package client

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// secretPage is one page of memory outside Go's heap that is never swapped,
// dumped or inherited, and that the garbage collector never copies.
type secretPage struct{ page []byte }

func newSecretPage() (*secretPage, error) {
	page, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("mapping a page: %w", err)
	}
	s := &secretPage{page}
	for _, step := range []func() error{
		func() error { return unix.Mlock(page) },
		func() error { return unix.Madvise(page, unix.MADV_DONTDUMP) },
		func() error { return unix.Madvise(page, unix.MADV_DONTFORK) },
	} {
		if err := step(); err != nil {
			s.wipe()
			return nil, fmt.Errorf("locking a page: %w", err)
		}
	}
	return s, nil
}

// buffer is what a PINSource fills. Its capacity ends with it.
func (s *secretPage) buffer() []byte { return s.page[:MaxPINLength:MaxPINLength] }

// send puts the first n bytes into a fresh memfd and hands it to deliver as
// SCM_RIGHTS. The receiver gets its own descriptor of the same file; ours is
// closed here, so the pages go when the receiver closes its own.
func (s *secretPage) send(n int, deliver func(rights []byte) error) error {
	fd, err := unix.MemfdCreate("inkan", unix.MFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("making a memfd: %w", err)
	}
	defer unix.Close(fd) // nothing can be done, and nothing is kept
	if n > 0 {
		// Straight from the locked page to the kernel: pwrite(2) copies nothing
		// in this process.
		written, err := unix.Pwrite(fd, s.page[:n], 0)
		if err != nil || written != n {
			return fmt.Errorf("filling a memfd (%d of %d bytes): %w", written, n, err)
		}
	}
	return deliver(unix.UnixRights(fd))
}

// wipe zeroes the page and gives it back.
func (s *secretPage) wipe() {
	clear(s.page)
	runtime.KeepAlive(s.page)
	_ = unix.Munmap(s.page) // also unlocks (mlock(2)); an error would mean it was not mapped
}
