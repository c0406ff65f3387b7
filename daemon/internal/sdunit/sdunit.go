// Package sdunit is what inkand has to do with systemd, as a unit of it: the
// sockets that are handed over, and what is told in return.
//
// It guarantees that a socket is taken only under its name and if it is of the
// right kind, that children inherit neither sockets nor the variables that
// announce them, that the watchdog is fed only when the service has just answered,
// and that everything here is without effect where there is no systemd. The caller takes the sockets before it starts anything else, and
// makes those that were not handed over.
package sdunit

import (
	"fmt"
	"log/slog"
	"net"
	"os"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"

	"github.com/inkan-project/inkan/token"
)

// Names of the sockets, FileDescriptorName= in their units.
const (
	callsName  = "inkan"
	agentsName = "inkan-pin"
)

// Unit is this process as systemd sees it. The zero Unit is no unit of systemd's.
type Unit struct {
	Calls  *net.UnixListener // gRPC; nil if not handed over
	Agents *net.UnixListener // PIN agents, SOCK_SEQPACKET; nil if not handed over
	Logger *slog.Logger      // to be set

	notify func(state string) error // nil = by NOTIFY_SOCKET (sd_notify(3))
}

// Take takes what systemd hands over to this process. It may be called once.
// Errors are [*token.Error] of kind KindSocketNotUsable.
func Take() (Unit, error) {
	var u Unit
	for _, f := range activation.Files(true) {
		err := u.take(f)
		_ = f.Close() // a listener has a descriptor of its own
		if err != nil {
			return Unit{}, err
		}
	}
	return u, nil
}

// take takes one socket.
func (u *Unit) take(f *os.File) error {
	unusable := func(why string, err error) error {
		return token.NewError(token.KindSocketNotUsable, "path", f.Name(), "detail", why).Because(err)
	}
	place, kind := &u.Calls, unix.SOCK_STREAM
	switch f.Name() {
	case callsName:
	case agentsName:
		place, kind = &u.Agents, unix.SOCK_SEQPACKET
	default:
		return unusable(fmt.Sprintf("systemd handed it over, but inkand knows only %q and %q", callsName, agentsName), nil)
	}
	if *place != nil {
		return unusable("systemd handed over two of that name", nil)
	}
	if got, err := unix.GetsockoptInt(int(f.Fd()), unix.SOL_SOCKET, unix.SO_TYPE); err != nil || got != kind {
		return unusable("what systemd handed over is no socket of the right kind (ListenStream, ListenSequentialPacket)", err)
	}
	l, err := net.FileListener(f)
	if err != nil {
		return unusable("what systemd handed over does not listen", err)
	}
	listener, ok := l.(*net.UnixListener)
	if !ok {
		return unusable("what systemd handed over is no Unix socket", l.Close())
	}
	*place = listener
	return nil
}

// Ready tells that calls are answered, and a line for `systemctl status`.
func (u Unit) Ready(status string) { u.tell(daemon.SdNotifyReady + "\nSTATUS=" + status) }

// Stopping tells that no new calls are taken.
func (u Unit) Stopping() { u.tell(daemon.SdNotifyStopping + "\nSTATUS=Ending the calls under way") }

// tell notifies systemd; without systemd there is nobody to tell.
func (u Unit) tell(state string) {
	notify := u.notify
	if notify == nil {
		notify = func(state string) error {
			_, err := daemon.SdNotify(false, state)
			return err
		}
	}
	if err := notify(state); err != nil {
		u.Logger.Warn("Notifying systemd", slog.Any("error", err))
	}
}
