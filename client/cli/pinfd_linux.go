package cli

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/inkan-project/inkan/client"
)

// fdSource gives the PIN that stands in a descriptor, once.
type fdSource struct{ fd int }

// newFDSource takes a descriptor over from the shell. One that the shell did
// not give could be Go's own (it keeps its cgroup's CPU limit open, often as 3)
// or become one of our connections, and what it says would be tried as a PIN.
// Only an inherited descriptor has no close-on-exec flag: execve(2) closes the
// others, and Go sets the flag on all it opens.
func newFDSource(fd int) (client.PINSource, error) {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	if err != nil || flags&unix.FD_CLOEXEC != 0 {
		return nil, errors.New("the descriptor is not open")
	}
	unix.CloseOnExec(fd)
	return &fdSource{fd}, nil
}

// PIN implements [client.PINSource].
func (s *fdSource) PIN(ctx context.Context, _ client.Prompt, buf []byte) (int, error) {
	if s.fd < 0 {
		return 0, errors.New("the PIN of --pin-fd was used already")
	}
	fd := s.fd
	s.fd = -1            // one PIN is given once: a wrong one must not be sent again
	defer unix.Close(fd) // only read
	r, err := newInterruptible(ctx, fd)
	if err != nil {
		return 0, err
	}
	defer r.close()
	n, err := readLine(r, buf)
	if err != nil {
		return 0, fmt.Errorf("reading --pin-fd: %w", err)
	}
	return n, nil
}
