package daemon

import (
	"testing"

	"golang.org/x/sys/unix"
)

// memfd returns a file in memory with these digits.
func memfd(b *testing.B, digits string) int {
	b.Helper()
	fd, err := unix.MemfdCreate("pin", unix.MFD_CLOEXEC)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = unix.Close(fd) })
	if _, err := unix.Pwrite(fd, []byte(digits), 0); err != nil {
		b.Fatal(err)
	}
	return fd
}
