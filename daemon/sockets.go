package daemon

import (
	"errors"
	"io/fs"
	"net"
	"syscall"
	"time"

	"github.com/inkan-project/inkan/daemon/internal/unixsock"
)

// socket is where programs or agents connect.
type socket interface {
	net.Listener
	AcceptUnix() (*net.UnixConn, error)
	SyscallConn() (syscall.RawConn, error)
	SetDeadline(t time.Time) error
}

// sockets returns where programs call and where agents connect: the sockets that
// systemd handed over, others as configured.
func (o Options) sockets() (calls, agents socket, err error) {
	// Who may do what is decided for each caller and agent.
	const everybody = 0o666
	if calls, err = listen(o.Unit.Calls, "unix", o.Config.Socket, everybody); err != nil {
		return nil, nil, err
	}
	if agents, err = listen(o.Unit.Agents, "unixpacket", o.Config.PINSocket, everybody); err != nil {
		return nil, nil, errors.Join(err, calls.Close())
	}
	return calls, agents, nil
}

// listen makes a socket, unless there is one already. The file of one that
// systemd handed over is systemd's: it stays when we close.
func listen(handed *net.UnixListener, network, path string, mode fs.FileMode) (socket, error) {
	if handed != nil {
		return inherited{handed}, nil
	}
	return unixsock.Listen(network, path, mode)
}

// inherited is a socket of systemd's. Like ours it may be closed twice: by who
// serves on it, and at the end.
type inherited struct{ *net.UnixListener }

// Close implements net.Listener.
func (i inherited) Close() error {
	if err := i.UnixListener.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}
