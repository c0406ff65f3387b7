package pcsc

import (
	"os"
	"path/filepath"
)

// Program is a process that is connected to pcscd.
type Program struct {
	PID  int    // 0: the system does not tell us
	Name string // as the process calls itself: for people, no proof; "" with PID 0
	UID  uint32 // whose socket it is
}

// usualSocket is compiled into libpcsclite (Debian: PCSCLITE_CSOCK_NAME).
const usualSocket = "/run/pcscd/pcscd.comm"

// Programs returns the other processes that are connected to pcscd: when a card
// is [ErrSharing], one of them has it. pcscd tells neither which nor which
// reader they use, and without the right to look into processes of other users
// only the users are known. On other systems than Linux there are none.
func (*Service) Programs() ([]Program, error) {
	path := os.Getenv("PCSCLITE_CSOCK_NAME")
	if path == "" {
		path = usualSocket
	}
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	return connectedTo(path)
}
