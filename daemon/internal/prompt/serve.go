package prompt

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

const (
	// helloTimeout is how long a connection may stay silent at first.
	helloTimeout = 2 * time.Second
	// acceptPause is the wait when the system is out of descriptors or memory.
	acceptPause = 100 * time.Millisecond
	// protocolVersion is the only one there is (AgentHello.version).
	protocolVersion = 1
)

// errStopping is why agents are dropped at the end.
var errStopping = errors.New("the service is stopping")

// Listener is where agents connect: a SOCK_SEQPACKET socket. [net.UnixListener]
// is one.
type Listener interface {
	AcceptUnix() (*net.UnixConn, error)
	SyscallConn() (syscall.RawConn, error)
	Close() error
}

// Serve takes agents until ctx ends, but no new ones once a deadline is set on
// the listener: they stay in its queue. At the end, or when accepting fails for good,
// it closes the listener, drops all agents, ends the prompts that are open and
// returns when none of its goroutines is left: nil if ctx ended.
func (s *Server) Serve(ctx context.Context, l Listener) error {
	if err := passCredentials(l); err != nil {
		return errors.Join(err, l.Close())
	}
	ctx, cancel := context.WithCancel(ctx)
	var agents sync.WaitGroup
	closed := make(chan struct{})
	context.AfterFunc(ctx, func() {
		_ = l.Close()
		close(closed)
	})
	defer func() {
		cancel()
		<-closed
		agents.Wait()
	}()
	for {
		conn, err := l.AcceptUnix()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = conn.Close()
			}
			return nil
		case err == nil:
			agents.Go(func() { s.connection(ctx, conn) })
		case errors.Is(err, os.ErrDeadlineExceeded):
			<-ctx.Done()
			return nil
		case passing(err):
			s.config.Logger.WarnContext(ctx, "Accepting a PIN agent", slog.Any("error", err))
			select {
			case <-time.After(acceptPause):
			case <-ctx.Done():
			}
		default:
			return fmt.Errorf("accepting PIN agents: %w", err)
		}
	}
}

// passing tells errors of accept(2) that may end by themselves.
func passing(err error) bool {
	return slices.ContainsFunc([]unix.Errno{
		unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM, unix.ECONNABORTED,
	}, func(e unix.Errno) bool { return errors.Is(err, e) })
}

// connection serves one connection to its end.
func (s *Server) connection(ctx context.Context, conn *net.UnixConn) {
	who, err := s.config.Identify(conn)
	if err != nil {
		s.config.Logger.WarnContext(ctx, "PIN agent refused", slog.Any("error", err))
		_ = conn.Close()
		return
	}
	if err := passCredentials(conn); err != nil { // what a listener hands on depends on the kernel
		s.config.Logger.WarnContext(ctx, "PIN agent refused", slog.Any("error", err))
		who.Close()
		_ = conn.Close()
		return
	}
	s.serveAgent(ctx, who, newSocket(conn, who.PID))
}

// serveAgent serves whoever is at the other end of a link, to its end.
func (s *Server) serveAgent(ctx context.Context, who Peer, l link) {
	defer who.Close()
	log := s.config.Logger.With(slog.Any("uid", who.UID), slog.Any("pid", who.PID))
	if !s.enter(who.UID) {
		log.WarnContext(ctx, "PIN agent refused: too many connections")
		_ = l.Close()
		return
	}
	defer s.leave(who.UID)

	a := newAgent(who, l, s.config.PINs, s.source(who))
	defer context.AfterFunc(ctx, func() { a.drop(errStopping) })()
	err := s.greet(a)
	if err == nil {
		defer s.unregister(a)
		log.DebugContext(ctx, "PIN agent connected",
			slog.String("source", a.source.String()), slog.Bool("own_calls_only", a.ownCallsOnly))
		err = a.receive()
	}
	a.drop(err)
	if errors.Is(a.cause, errProtocol) {
		log.WarnContext(ctx, "PIN agent dropped", slog.Any("error", a.cause))
	} else {
		log.DebugContext(ctx, "PIN agent gone", slog.Any("reason", a.cause))
	}
}

// source tells the trusted prompt from other programs.
func (s *Server) source(who Peer) Source {
	if gid := s.config.PromptGID; who.Trusted || gid != nil && who.GID == *gid {
		return SourcePrompt
	}
	return SourceProgram
}

// greet takes the agent's hello and lets it in. The agent's turn is held until
// the welcome is out: an agent may be named as soon as it knows its id, and is
// asked only after that.
func (s *Server) greet(a *agent) error {
	late := time.AfterFunc(helloTimeout, func() {
		a.drop(fmt.Errorf("%w: no hello within %v", errProtocol, helloTimeout))
	})
	defer late.Stop()
	packet, fds, err := a.link.Receive()
	if err != nil {
		return err
	}
	hello := packet.GetHello()
	if hello == nil || len(fds) != 0 {
		closeAll(fds)
		return fmt.Errorf("%w: the first packet is not a hello", errProtocol)
	}
	if hello.GetVersion() != protocolVersion {
		return fmt.Errorf("%w: version %d is not known", errProtocol, hello.GetVersion())
	}
	a.ownCallsOnly = hello.GetOwnCallsOnly()
	a.turn <- struct{}{}
	defer func() { <-a.turn }()
	s.mu.Lock()
	s.agents = append(s.agents, a)
	s.mu.Unlock()
	welcome := &inkanpb.PinPacket{Packet: &inkanpb.PinPacket_Welcome{
		Welcome: &inkanpb.AgentWelcome{AgentId: a.id},
	}}
	if err := a.link.Send(welcome); err != nil {
		s.unregister(a)
		return err
	}
	return nil
}

// enter counts a connection in, unless there are too many.
func (s *Server) enter(uid uint32) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := 0
	for _, n := range s.open {
		all += n
	}
	if all >= s.config.MaxAgents || s.open[uid] >= s.config.MaxAgentsPerUID {
		return false
	}
	s.open[uid]++
	return true
}

// leave counts a connection out.
func (s *Server) leave(uid uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[uid]--; s.open[uid] == 0 {
		delete(s.open, uid)
	}
}

func (s *Server) unregister(a *agent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.agents = slices.DeleteFunc(s.agents, func(other *agent) bool { return other == a })
}

// newID returns 128 random bits in hexadecimal.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}
