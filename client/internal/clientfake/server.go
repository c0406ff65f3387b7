// Package clientfake is an inkand for tests of clients: the real API on real
// Unix sockets, with keys in memory and no card, journal or log behind it.
//
// It guarantees the contract of proto/inkan/v1 as a client sees it, with
// inkand's error details; a test reads what the client sent. The caller must
// Stop it. It proves nothing about inkand: daemontest does that.
package clientfake

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/stats"

	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// Server is a running fake.
type Server struct {
	inkanpb.UnimplementedStatusServiceServer
	inkanpb.UnimplementedSigningServiceServer
	inkanpb.UnimplementedCardServiceServer
	inkanpb.UnimplementedRegisterServiceServer
	inkanpb.UnimplementedAuditServiceServer
	inkanpb.UnimplementedAdminServiceServer

	Socket, PINSocket string
	Keys              []Key

	grpc      *grpc.Server
	pinListen *net.UnixListener
	work      sync.WaitGroup // accept loops and agents

	mu       sync.Mutex // guards the fields that follow
	card     card
	records  []*inkanpb.Record
	scripted map[string][]Answer // by method name; each is used up by one call
	seen     []metadata.MD
	agents   map[string]*agentConn
	answers  int                      // PINs that agents sent
	prompt   func(*inkanpb.PinPrompt) // changes the next prompts
	wire     []byte                   // everything clients sent over Socket
	warnings []string                 // of the next signatures
	changed  chan struct{}            // closed at each change of state
	sequence uint64
	problem  inkanpb.Reason // what Diagnose finds wrong with the card
	hidden   bool           // the caller may not see cards
	losses   map[string]Lose
	firsts   map[string]first // by method and name of the request
	counts   map[string]int   // what was done, by method
	level    uint32           // of the API
}

// Start serves on "inkan.sock" and "pin.sock" in dir.
func Start(dir string) (*Server, error) {
	made, err := keys()
	if err != nil {
		return nil, err
	}
	s := &Server{
		Socket: filepath.Join(dir, "inkan.sock"), PINSocket: filepath.Join(dir, "pin.sock"), Keys: made,
		card: newCard(), scripted: map[string][]Answer{}, agents: map[string]*agentConn{},
		changed: make(chan struct{}), sequence: 1, level: inkanpb.APILevel,
		losses: map[string]Lose{}, firsts: map[string]first{}, counts: map[string]int{},
	}
	s.grpc = grpc.NewServer(
		grpc.UnaryInterceptor(s.intercept),
		grpc.StatsHandler(wireRecorder{s}),
	)
	inkanpb.RegisterStatusServiceServer(s.grpc, s)
	inkanpb.RegisterSigningServiceServer(s.grpc, s)
	inkanpb.RegisterCardServiceServer(s.grpc, s)
	inkanpb.RegisterRegisterServiceServer(s.grpc, s)
	inkanpb.RegisterAuditServiceServer(s.grpc, s)
	inkanpb.RegisterAdminServiceServer(s.grpc, s)
	listener, err := net.Listen("unix", s.Socket)
	if err != nil {
		return nil, fmt.Errorf("listening: %w", err)
	}
	s.pinListen, err = net.ListenUnix("unixpacket", &net.UnixAddr{Name: s.PINSocket, Net: "unixpacket"})
	if err != nil {
		return nil, fmt.Errorf("listening for agents: %w", err)
	}
	s.work.Go(func() { _ = s.grpc.Serve(&recordingListener{listener, s}) })
	s.work.Go(s.acceptAgents)
	return s, nil
}

// Stop ends everything and waits for it.
func (s *Server) Stop() {
	s.grpc.Stop()
	s.StopAgents()
	s.work.Wait()
}

// Answer is what a call is answered, in the place of what the fake would do.
type Answer func(ctx context.Context, req any) (any, error)

// FailNext makes the next call of a method fail, for example "Sign".
func (s *Server) FailNext(method string, err error) {
	s.Script(method, func(context.Context, any) (any, error) { return nil, err })
}

// Script answers the next calls of a method, for example "Sign", after those
// that were scripted before.
func (s *Server) Script(method string, answers ...Answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scripted[method] = append(s.scripted[method], answers...)
}

// Warn makes signatures carry warnings.
func (s *Server) Warn(codes ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.warnings = codes
}

// Break makes Diagnose find something wrong with the card in the reader.
func (s *Server) Break(problem inkanpb.Reason) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.problem = problem
}

// HideCards makes the caller one who may not see cards nor list keys.
func (s *Server) HideCards() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hidden = true
}

// SetAPILevel makes it an inkand of another API level.
func (s *Server) SetAPILevel(level uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.level = level
}

// LastMetadata returns the metadata of the newest unary call.
func (s *Server) LastMetadata() metadata.MD {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen[len(s.seen)-1]
}

// Calls returns the number of unary calls so far.
func (s *Server) Calls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.seen)
}

// Wire returns every byte that clients sent over Socket.
func (s *Server) Wire() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]byte(nil), s.wire...)
}

// next takes the next scripted answer of a method, nil if there is none.
func (s *Server) next(method string) Answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	waiting := s.scripted[method]
	if len(waiting) == 0 {
		return nil
	}
	s.scripted[method] = waiting[1:]
	return waiting[0]
}

func (s *Server) intercept(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	method := filepath.Base(info.FullMethod)
	if method == "GetVersion" { // once for each connection, by itself
		return handle(ctx, req)
	}
	s.mu.Lock()
	s.seen = append(s.seen, md)
	s.mu.Unlock()
	next := Answer(handle)
	if scripted := s.next(method); scripted != nil {
		next = scripted
	}
	return s.once(method, req, func() (any, error) { return next(ctx, req) })
}

// wireRecorder keeps the decoded headers, which HPACK hides on the wire.
type wireRecorder struct{ s *Server }

func (r wireRecorder) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

func (r wireRecorder) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (r wireRecorder) HandleConn(context.Context, stats.ConnStats)                       {}
func (r wireRecorder) HandleRPC(_ context.Context, rs stats.RPCStats) {
	if h, ok := rs.(*stats.InHeader); ok {
		r.s.mu.Lock()
		defer r.s.mu.Unlock()
		r.s.wire = fmt.Appendf(r.s.wire, "%v", h.Header)
	}
}

type recordingListener struct {
	net.Listener
	s *Server
}

func (l *recordingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return &recordingConn{c, l.s}, err
}

type recordingConn struct {
	net.Conn
	s *Server
}

func (c *recordingConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.s.wire = append(c.s.wire, b[:n]...)
	return n, err
}
