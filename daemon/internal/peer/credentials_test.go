package peer

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
)

// health answers each Check after telling who made it.
type health struct {
	grpc_health_v1.UnimplementedHealthServer
	calls chan *Caller
}

func (h health) Check(ctx context.Context, _ *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	c, _ := FromContext(ctx)
	h.calls <- c
	return &grpc_health_v1.HealthCheckResponse{}, nil
}

// serve starts a gRPC server and returns the path of its socket.
func serve(t *testing.T, wrap func(net.Listener) net.Listener) (string, chan *Caller) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	calls := make(chan *Caller, 1)
	server := grpc.NewServer(grpc.Creds(Credentials()))
	grpc_health_v1.RegisterHealthServer(server, health{calls: calls})
	done := make(chan error, 1)
	go func() { done <- server.Serve(wrap(ln)) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-done; err != nil {
			t.Errorf("Serve() = %v", err)
		}
	})
	return path, calls
}

func check(t *testing.T, path string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("unix:"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := grpc_health_v1.NewHealthClient(conn).Check(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	return conn
}

// wrapped is a connection as a limiting listener makes it.
type wrapped struct{ net.Conn }

func (w wrapped) NetConn() net.Conn { return w.Conn }

type wrappingListener struct{ net.Listener }

func (l wrappingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return wrapped{c}, nil
}

func TestHandlerKnowsItsCallerUntilTheConnectionEnds(t *testing.T) {
	needPidfd(t)
	for name, wrap := range map[string]func(net.Listener) net.Listener{
		"bare connections":    func(l net.Listener) net.Listener { return l },
		"wrapped connections": func(l net.Listener) net.Listener { return wrappingListener{l} },
	} {
		t.Run(name, func(t *testing.T) {
			path, calls := serve(t, wrap)
			conn := check(t, path)
			c := <-calls
			if c == nil || int(c.PID) != os.Getpid() || int(c.UID) != os.Getuid() {
				t.Fatalf("caller = %+v, want this process", c)
			}
			if err := c.Alive(); err != nil {
				t.Errorf("Alive() = %v", err)
			}
			_ = conn.Close()
			eventually(t, "the caller is closed with its connection", func() bool { return c.Alive() != nil })
		})
	}
}

// eventually waits for something that another goroutine does.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !done(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

// gRPC does not close the wrapped connection when the first write fails; the
// descriptor of the process must not leak all the same.
func TestConnectionsThatBreakAtOnceLeakNothing(t *testing.T) {
	needPidfd(t)
	path, calls := serve(t, func(l net.Listener) net.Listener { return l })
	_ = check(t, path).Close()
	<-calls
	before := openFiles(t)
	for range 200 {
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
	}
	eventually(t, "descriptors are back to where they were", func() bool {
		runtime.GC()
		return openFiles(t) <= before
	})
}

func TestServerHandshakeRefusesWhatItCannotKnow(t *testing.T) {
	a, b := net.Pipe()
	defer func() { _, _ = a.Close(), b.Close() }()
	if _, _, err := Credentials().ServerHandshake(a); err == nil {
		t.Error("handshake over net.Pipe succeeded")
	}
	if _, _, err := Credentials().ClientHandshake(t.Context(), "", a); err == nil {
		t.Error("client handshake succeeded")
	}
	needPidfd(t)
	p := start(t, "connect", nil)
	p.die()
	if _, _, err := Credentials().ServerHandshake(p.conn); err == nil {
		t.Error("handshake with a dead process succeeded")
	}
}

func TestConnectionCountsAsPrivate(t *testing.T) {
	needPidfd(t)
	p := start(t, "connect", nil)
	conn, info, err := Credentials().Clone().ServerHandshake(p.conn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := credentials.CheckSecurityLevel(info, credentials.PrivacyAndIntegrity); err != nil {
		t.Errorf("security level: %v", err)
	}
	if got := info.AuthType(); got != Credentials().Info().SecurityProtocol {
		t.Errorf("AuthType() = %q, want %q", got, Credentials().Info().SecurityProtocol)
	}
	if _, ok := FromContext(t.Context()); ok {
		t.Error("FromContext outside a call = true")
	}
}
