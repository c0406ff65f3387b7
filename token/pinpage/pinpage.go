// Package pinpage gives PINs a page of memory of their own: out of reach of
// other processes, of core dumps and of swap.
//
// It guarantees that a PIN goes from the descriptor that carries it straight
// into that page, by one pread and through no other memory of this process,
// and that the page is zeroed before it is given back. When no such page can
// be had there is an error, never ordinary memory. A caller must wipe every
// PIN it gets, and should turn core dumps off.
package pinpage

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/inkan-project/inkan/token"
)

// Kinds of page, in the words that [Open] takes and [Source.Kind] returns.
const (
	// KindSecret is memfd_secret(2): not even the kernel's own mappings hold
	// the page, so that root cannot read it through /proc.
	KindSecret = "memfd_secret"
	// KindLocked is mlock(2), left out of core dumps and of children.
	KindLocked = "mlock"
)

// ErrContents means that a descriptor does not hold what its sender said: its
// size is not the length given, or it is no ordinary memfd.
var ErrContents = errors.New("descriptor does not hold the PIN that was announced")

// Source gives pages of one kind. It is safe for concurrent use.
type Source struct {
	kind string
	// released is called with each page between zeroing and unmapping; nil
	// but in tests.
	released func(page []byte)
}

// Open returns a source of the best kind that this kernel has, tried once and
// for good, or of the kind asked for ([KindSecret], [KindLocked]) or an error.
func Open(force string) (*Source, error) {
	switch force {
	case KindSecret, KindLocked:
		return open(force)
	case "":
		if s, err := open(KindSecret); err == nil {
			return s, nil
		}
		return open(KindLocked)
	}
	return nil, fmt.Errorf("kind of page %q is not known", force)
}

// open takes one page of the kind and gives it back.
func open(kind string) (*Source, error) {
	s := &Source{kind: kind}
	page, err := s.take()
	if err != nil {
		return nil, err
	}
	s.giveBack(page)
	return s, nil
}

// Kind says which kind of page the source gives, for the log and for status.
func (s *Source) Kind() string { return s.kind }

// ReadFD reads the PIN of length bytes from offset 0 of an ordinary memfd and
// returns it in a page of its own. The descriptor stays open, and its contents
// as they were: both belong to the caller.
//
// It returns an error wrapping [ErrContents] for a descriptor of another size
// or sort, and an error when there is no page. Nothing is mapped from the
// descriptor (its owner could truncate it under us), and anything that could
// block a read, such as a pipe or a file of a FUSE file system, is refused.
func (s *Source) ReadFD(fd, length int) (*token.PIN, error) {
	if length < 0 || length > token.PINCapacity {
		return nil, fmt.Errorf("%d bytes announced: %w", length, ErrContents)
	}
	// Seals exist only on files in memory (fcntl(2), F_GET_SEALS): asking for
	// them tells these from all others without calling any file system.
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0); err != nil {
		return nil, fmt.Errorf("looking for a memfd: %w: %w", err, ErrContents)
	}
	page, err := s.take()
	if err != nil {
		return nil, err
	}
	if err := readExactly(page[token.PINHeadroom:][:token.PINCapacity], fd, length); err != nil {
		s.giveBack(page)
		return nil, err
	}
	pin, err := token.NewPIN(page, length, func() { s.giveBack(page) })
	if err != nil {
		s.giveBack(page)
		return nil, err
	}
	return pin, nil
}

// readExactly reads once and then asks for the size, so that a file which
// holds more than fits is not taken for one that ends there.
func readExactly(to []byte, fd, length int) error {
	n, err := unix.Pread(fd, to, 0)
	if err != nil {
		return fmt.Errorf("reading PIN: %w", err)
	}
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return fmt.Errorf("reading size of PIN: %w", err)
	}
	if n != length || stat.Size != int64(length) {
		return fmt.Errorf("%d bytes announced, %d of %d read: %w", length, n, stat.Size, ErrContents)
	}
	return nil
}

// take maps one page of the source's kind, zeroed.
func (s *Source) take() ([]byte, error) {
	if s.kind == KindSecret {
		return takeSecret()
	}
	return takeLocked()
}

func takeSecret() ([]byte, error) {
	fd, err := unix.MemfdSecret(unix.O_CLOEXEC) // FD_CLOEXEC, as memfd_secret(2) has it, gives EINVAL
	if err != nil {
		return nil, fmt.Errorf("making %s: %w", KindSecret, err)
	}
	defer func() { _ = unix.Close(fd) }() // the mapping stays; nobody else can map it then
	if err := unix.Ftruncate(fd, int64(os.Getpagesize())); err != nil {
		return nil, fmt.Errorf("sizing %s: %w", KindSecret, err)
	}
	page, err := unix.Mmap(fd, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("mapping %s: %w", KindSecret, err)
	}
	// A shared mapping would be one page with a child after fork.
	if err := unix.Madvise(page, unix.MADV_DONTFORK); err != nil {
		_ = unix.Munmap(page)
		return nil, fmt.Errorf("keeping %s from children: %w", KindSecret, err)
	}
	return page, nil
}

func takeLocked() ([]byte, error) {
	page, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("mapping page: %w", err)
	}
	if err := lock(page); err != nil {
		_ = unix.Munmap(page)
		return nil, err
	}
	return page, nil
}

func lock(page []byte) error {
	if err := unix.Mlock(page); err != nil {
		return fmt.Errorf("locking page into memory: %w", err)
	}
	if err := unix.Madvise(page, unix.MADV_DONTDUMP); err != nil {
		return fmt.Errorf("keeping page out of core dumps: %w", err)
	}
	if err := unix.Madvise(page, unix.MADV_WIPEONFORK); err != nil {
		return fmt.Errorf("keeping page from children: %w", err)
	}
	return nil
}

// giveBack zeroes the page and unmaps it. An error of munmap leaves a zeroed
// page behind, which harms nobody.
func (s *Source) giveBack(page []byte) {
	clear(page)
	runtime.KeepAlive(page)
	if s.released != nil {
		s.released(page)
	}
	_ = unix.Munmap(page)
}
