package rpc

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// door is the server's listener. It can be shut without loss: to gRPC a stop
// means closing connections that it has accepted and not looked at yet, and whose
// callers then get no answer. A shut door takes no more of them, so that they stay
// in the socket's queue for the inkand that comes next, and lets in those that it
// has taken.
type door struct {
	net.Listener
	entered sync.WaitGroup

	shutting sync.Once
	shut     chan struct{} // closed once nothing more is accepted
	closing  sync.Once
	closed   chan struct{}
}

// newDoor returns the door of a listener.
func newDoor(l net.Listener) *door {
	return &door{Listener: l, shut: make(chan struct{}), closed: make(chan struct{})}
}

// Accept implements net.Listener. Once the door is shut it waits for Close.
func (d *door) Accept() (net.Conn, error) {
	conn, err := d.Listener.Accept()
	if errors.Is(err, os.ErrDeadlineExceeded) { // only Shut sets one
		d.shutting.Do(func() { close(d.shut) })
		<-d.closed
		return nil, net.ErrClosed
	}
	if err != nil {
		return nil, err
	}
	d.entered.Add(1)
	return &visitor{Conn: conn, entered: sync.OnceFunc(d.entered.Done)}, nil
}

// Shut takes no more connections, and returns when gRPC has begun with those
// that were taken, or when ctx ends.
func (d *door) Shut(ctx context.Context) {
	l, ok := d.Listener.(interface{ SetDeadline(time.Time) error })
	if !ok || l.SetDeadline(time.Unix(1, 0)) != nil {
		return // not a socket, or closed
	}
	done := make(chan struct{})
	go func() { // ends at the latest when gRPC gives up on connections, after handshakeTimeout
		defer close(done)
		select {
		case <-d.shut: // nobody enters any more
			d.entered.Wait()
		case <-d.closed:
		}
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// Close implements net.Listener.
func (d *door) Close() error {
	d.closing.Do(func() { close(d.closed) })
	return d.Listener.Close()
}

// visitor is a connection that was accepted.
type visitor struct {
	net.Conn
	entered func()
}

// NetConn returns the connection below.
func (v *visitor) NetConn() net.Conn { return v.Conn }

// SyscallConn implements syscall.Conn.
func (v *visitor) SyscallConn() (syscall.RawConn, error) {
	socket, ok := v.Conn.(syscall.Conn)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	return socket.SyscallConn()
}

// SetDeadline implements net.Conn. gRPC calls it when it begins with a
// connection: from then on a stop waits for it (grpc v1.85.0, server.go,
// handleRawConn).
func (v *visitor) SetDeadline(t time.Time) error {
	v.entered()
	return v.Conn.SetDeadline(t)
}

// Close implements net.Conn.
func (v *visitor) Close() error {
	v.entered()
	return v.Conn.Close()
}
