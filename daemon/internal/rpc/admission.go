package rpc

import (
	"context"
	"errors"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/credentials"
	grpcpeer "google.golang.org/grpc/peer"
	"google.golang.org/grpc/tap"

	"github.com/inkan-project/inkan/daemon/internal/peer"
)

// requestTime is how long the request of a call may take to come in whole.
const requestTime = 5 * time.Second

// errTooManyConnections is why a connection is closed without a word.
var errTooManyConnections = errors.New("too much of this user, or of all")

// gatedListener hands out connections that tell the gate when they are closed.
// gRPC closes what it accepted however the connection ends, but not always what
// a handshake made of it.
type gatedListener struct {
	net.Listener
	gate *gate
}

// Accept implements net.Listener. Connections that come too fast end here.
func (l gatedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if uid, ok := userOf(conn); ok && !l.gate.dial(uid) {
			_ = conn.Close()
			continue
		}
		return &gatedConn{Conn: conn}, nil
	}
}

// userOf returns the user at the other end, where that can be told at once.
// Who calls is found out later, and for certain.
func userOf(conn net.Conn) (uid uint32, ok bool) {
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return 0, false
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return 0, false
	}
	var who *unix.Ucred
	if raw.Control(func(fd uintptr) { who, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }) != nil || err != nil {
		return 0, false
	}
	return who.Uid, true
}

type gatedConn struct {
	net.Conn

	mu     sync.Mutex // guards the fields that follow
	closed bool
	leave  func() // nil: was not counted
}

// NetConn returns the connection below.
func (c *gatedConn) NetConn() net.Conn { return c.Conn }

// entered has leave called when the connection is closed.
func (c *gatedConn) entered(leave func()) {
	c.mu.Lock()
	closed := c.closed
	if !closed {
		c.leave = leave
	}
	c.mu.Unlock()
	if closed {
		leave()
	}
}

// Close implements net.Conn.
func (c *gatedConn) Close() error {
	c.mu.Lock()
	leave := c.leave
	c.closed, c.leave = true, nil
	c.mu.Unlock()
	if leave != nil {
		leave()
	}
	return c.Conn.Close()
}

// gatedCredentials count connections by the user that the handshake finds.
type gatedCredentials struct {
	credentials.TransportCredentials
	gate *gate
}

// ServerHandshake implements credentials.TransportCredentials.
func (c gatedCredentials) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	accepted, gated := conn.(*gatedConn)
	conn, info, err := c.TransportCredentials.ServerHandshake(conn)
	if err != nil || !gated {
		return conn, info, err
	}
	wired, ok := info.(wiredInfo)
	if !ok {
		return conn, info, nil // its calls are refused: there is no caller
	}
	e, leave := c.gate.connect(wired.Caller().UID)
	if e == shut {
		_ = conn.Close()
		return nil, nil, errTooManyConnections
	}
	accepted.entered(leave)
	uid := wired.Caller().UID
	wired.wire.heard.rest = prefaceLength
	wired.wire.came = func(n int) bool { return c.gate.frames(uid, n) }
	if e == tell {
		wired.wire.refused = true
		time.AfterFunc(tellTime, func() { _ = conn.Close() })
	}
	return conn, info, nil
}

// Clone implements credentials.TransportCredentials.
func (c gatedCredentials) Clone() credentials.TransportCredentials {
	return gatedCredentials{c.TransportCredentials.Clone(), c.gate}
}

type lateKey struct{}

// tap sees each call before anything of it is kept: calls that come too fast
// end here, and those whose request does not come end their connection.
func (s *Server) tap(ctx context.Context, info *tap.Info) (context.Context, error) {
	p, ok := grpcpeer.FromContext(ctx)
	if !ok {
		return nil, s.fast["en"]
	}
	wired, ok := p.AuthInfo.(wiredInfo)
	if !ok {
		return ctx, nil // refused later, as a call without a caller
	}
	if ok, flood := s.gate.begin(wired.Caller().UID); !ok {
		if flood {
			_ = wired.wire.Close()
		}
		return nil, s.fast[languageOf(info.Header[languageKey])]
	}
	late := time.AfterFunc(requestTime, func() {
		s.cfg.Logger.Info("Request did not come in time", "method", info.FullMethodName, "uid", wired.Caller().UID)
		_ = wired.wire.Close()
	})
	context.AfterFunc(ctx, func() { late.Stop() })
	return context.WithValue(ctx, lateKey{}, late), nil
}

// arrived notes that the request of a call is there.
func arrived(ctx context.Context) {
	if late, ok := ctx.Value(lateKey{}).(*time.Timer); ok {
		late.Stop()
	}
}

// tooFast are the answers to calls that come too fast, by language: making one
// costs more than the call.
func tooFast() map[string]error {
	answers := map[string]error{}
	for _, language := range []string{"en", "ja"} {
		answers[language] = toStatus(tooMany("calls follow each other too fast", "呼び出しの頻度が高すぎる"), language)
	}
	return answers
}

// enter lets a call go on to its handler, or not.
func (s *Server) enter(ctx context.Context, who *peer.Caller) (done func(), err error) {
	if w := wireOf(ctx); w != nil && w.refused {
		return nil, tooMany("too many connections", "接続数が上限")
	}
	return s.gate.run(who.UID)
}
