// Package rpc is the gRPC face of inkand: it tells who calls, authorises by
// method, validates, hands on to the broker and turns errors into what
// programs and people understand.
//
// It guarantees that no handler runs for a caller whom the policy does not
// allow or whose process has ended, that no request reaches a handler with a
// field that breaks its rule, that no user has more open than [Limits] allow, that an error leaves only with a text from the
// catalogue, and that the broker learns when a signature has left: when it was
// written to the socket, or never can be. A caller of the package must serve on Unix sockets only.
package rpc

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"net"
	"sync/atomic"
	"time"

	"buf.build/go/protovalidate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"

	"github.com/inkan-project/inkan/daemon/internal/audit"
	"github.com/inkan-project/inkan/daemon/internal/broker"
	"github.com/inkan-project/inkan/daemon/internal/peer"
	"github.com/inkan-project/inkan/daemon/internal/policy"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
	"github.com/inkan-project/inkan/token"
)

// handlerTime is how long handlers have to end once nothing holds them.
const handlerTime = time.Second

// Limits of a connection; the defaults of gRPC are unbounded.
const (
	maxMessage       = 64 << 10 // bytes; documents never come over gRPC
	maxHeader        = 8 << 10  // bytes
	maxStreams       = 32       // at once, on one connection
	handshakeTimeout = 2 * time.Second
	idleTime         = 5 * time.Minute // without a call, before it is closed
)

// Config is what a Server needs.
type Config struct {
	Broker *broker.Broker
	Log    *audit.Log
	Policy *policy.Policy
	Logger *slog.Logger
	// Limits bound what callers may have open.
	Limits Limits
	// Service is what status says about the service itself.
	Service func() *inkanpb.ServiceStatus
	// Exclusivity is whether inkand has a reader alone; nil = none.
	Exclusivity func(reader string) inkanpb.Exclusivity
	// Support is what a support bundle holds besides what the Broker and the
	// Log know; nil = nothing.
	Support func() []Part
}

// Server serves the API.
type Server struct {
	cfg       Config
	validator protovalidate.Validator
	grpc      *grpc.Server
	health    *health.Server
	half      half // in a build with failpoints
	wires     *wires
	gate      *gate
	door      atomic.Pointer[door] // nil until Serve
	fast      map[string]error     // answers to calls that come too fast, by language
	life      context.Context      //nolint:containedctx // ends when calls that only wait must end
	end       context.CancelFunc
}

// New returns a Server.
func New(cfg Config) (*Server, error) {
	validator, err := protovalidate.New()
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, validator: validator, health: health.NewServer(), wires: &wires{open: map[*wire]bool{}}, gate: newGate(cfg.Limits), fast: tooFast()}
	s.life, s.end = context.WithCancel(context.Background())
	s.grpc = grpc.NewServer(
		grpc.Creds(gatedCredentials{s.wires.credentials(s.credentials()), s.gate}),
		grpc.InTapHandle(s.tap),
		grpc.ChainUnaryInterceptor(s.unary),
		grpc.ChainStreamInterceptor(s.stream),
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxHeaderListSize(maxHeader),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.ConnectionTimeout(handshakeTimeout),
		// Nobody is asked whether he lives: the kernel says when a process ends.
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: idleTime, Time: math.MaxInt64}),
		grpc.UnknownServiceHandler(func(any, grpc.ServerStream) error {
			return token.NewError(token.KindMethodUnknown) // the policy has said it before
		}),
	)
	inkanpb.RegisterStatusServiceServer(s.grpc, statusService{s: s})
	inkanpb.RegisterSigningServiceServer(s.grpc, signingService{s: s})
	inkanpb.RegisterCardServiceServer(s.grpc, cardService{s: s})
	inkanpb.RegisterRegisterServiceServer(s.grpc, registerService{s: s})
	inkanpb.RegisterAuditServiceServer(s.grpc, auditService{s: s})
	inkanpb.RegisterAdminServiceServer(s.grpc, adminService{s: s})
	healthpb.RegisterHealthServer(s.grpc, s.health)
	return s, nil
}

// Serve answers calls on the listener until Stop, and then returns nil.
func (s *Server) Serve(l net.Listener) error {
	d := newDoor(l)
	s.door.Store(d)
	if err := s.grpc.Serve(gatedListener{d, s.gate}); !errors.Is(err, grpc.ErrServerStopped) {
		return err
	}
	return nil // Stop came first
}

// Stop takes no new calls and ends those that wait for a person or for a
// change. Those that use a card may finish until ctx ends, and are cut off
// then.
func (s *Server) Stop(ctx context.Context) {
	s.health.Shutdown()
	if d := s.door.Load(); d != nil {
		d.Shut(ctx)
	}
	s.end()
	done := make(chan struct{})
	go func() {
		s.grpc.GracefulStop()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		s.grpc.Stop()
		select { // handlers end by themselves: what they could wait for has ended
		case <-done:
		case <-time.After(handlerTime):
		}
	}
}

// subject is who calls, for the policy.
func subject(c *peer.Caller) policy.Subject {
	return policy.Subject{UID: c.UID, Groups: c.AllGroups()}
}

// clamp32 makes a count fit a proto field.
func clamp32(n int) uint32 { return uint32(min(max(n, 0), math.MaxInt32)) }
