package pcsc

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"github.com/ebfe/scard"
)

// Program is a process that is connected to pcscd.
type Program struct {
	PID  int    // 0: the system does not tell us
	Name string // as the process calls itself: for people, no proof; "" with PID 0
	UID  uint32 // whose socket it is
}

// usualSocket is compiled into libpcsclite (Debian: PCSCLITE_CSOCK_NAME).
const usualSocket = "/run/pcscd/pcscd.comm"

// socketPath returns where libpcsclite looks for pcscd.
func socketPath() string {
	return cmp.Or(os.Getenv("PCSCLITE_CSOCK_NAME"), usualSocket)
}

// shut returns an error wrapping [ErrDenied] and an [fs.PathError] if what
// libpcsclite calls no service is a socket that this process may not open.
func shut(said error) error {
	c, ok := errors.AsType[code](said)
	if absent := ok && scard.Error(c) == scard.ErrNoService; !absent {
		return nil
	}
	path := socketPath()
	conn, err := (&net.Dialer{Timeout: lastPause}).Dial("unix", path)
	switch {
	case err == nil:
		_ = conn.Close() // pcscd has just come: the next look finds it
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: %w", ErrDenied, &fs.PathError{Op: "connect", Path: path, Err: fs.ErrPermission})
	}
	return nil
}

// Programs returns the other processes that are connected to pcscd: when a card
// is [ErrSharing], one of them has it. pcscd tells neither which nor which
// reader they use, and without the right to look into processes of other users
// only the users are known. On other systems than Linux there are none.
func (*Service) Programs() ([]Program, error) {
	path := socketPath()
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	return connectedTo(path)
}
