package rpc

import (
	"context"
	"net"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/inkan-project/inkan/daemon/internal/peer"
)

// askedStreams answers after telling which stream the call came on.
type askedStreams struct {
	healthpb.UnimplementedHealthServer
	streams chan uint32
	left    chan struct{}
}

func (h askedStreams) Check(ctx context.Context, _ *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	h.streams <- streamOf(ctx)
	caller(ctx).AfterSend(func() { h.left <- struct{}{} })
	return &healthpb.HealthCheckResponse{}, nil
}

// gRPC numbers a client's streams 1, 3, 5 (RFC 9113, section 5.1.1).
func TestAnAnswerIsKnownByTheStreamOfItsCall(t *testing.T) {
	all := &wires{open: map[*wire]bool{}}
	server := grpc.NewServer(grpc.Creds(all.credentials(peer.Credentials())), grpc.UnaryInterceptor(
		func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (resp any, err error) {
			ctx, answered := withAnswer(ctx)
			defer func() { answered(err) }()
			return handle(ctx, req)
		}))
	health := askedStreams{streams: make(chan uint32, 8), left: make(chan struct{}, 8)}
	healthpb.RegisterHealthServer(server, health)
	path := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	conn, err := grpc.NewClient("unix:"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	var got []uint32
	for range 3 {
		if _, err := healthpb.NewHealthClient(conn).Check(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		got = append(got, <-health.streams)
		<-health.left // while the connection stays
	}
	if want := []uint32{1, 3, 5}; !slices.Equal(got, want) {
		t.Errorf("streams %v, want %v", got, want)
	}
	if len(all.open) != 0 {
		t.Errorf("%d connections are kept", len(all.open))
	}
	_ = conn.Close()
	server.Stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// wireWith returns a wire on which an answer waits, and its other end.
func wireWith(t *testing.T, stream uint32) (c *wire, other net.Conn, told *int) {
	t.Helper()
	near, far := net.Pipe()
	t.Cleanup(func() { _, _ = near.Close(), far.Close() })
	c = &wire{Conn: near, wires: &wires{open: map[*wire]bool{}}, waiting: map[uint32][]*answer{}, parts: map[uint32]int{}}
	told = new(int)
	a := &answer{stream: stream, at: time.Now()}
	a.after(func() { *told++ })
	c.wait(a)
	return c, far, told
}

func TestAnAnswerLeavesWithItsOwnLastByte(t *testing.T) {
	c, far, told := wireWith(t, 1)
	send := func(b []byte, want int) {
		t.Helper()
		read := make(chan error, 1)
		go func() { _, err := far.Read(make([]byte, len(b))); read <- err }()
		if _, err := c.Write(b); err != nil {
			t.Fatal(err)
		}
		if err := <-read; err != nil || *told != want {
			t.Fatalf("told %d times (%v), want %d", *told, err, want)
		}
	}
	send(frame(frameHeaders, 5, 3, 10), 0) // another call's
	last := frame(frameHeaders, 5, 1, 10)
	send(last[:len(last)-1], 0)
	send(last[len(last)-1:], 1)
	_ = c.Close()
	if *told != 1 || len(c.wires.open) != 0 {
		t.Errorf("told %d times, %d connections kept", *told, len(c.wires.open))
	}
}

func TestAnAnswerThatDoesNotLeaveIsCutOffWithItsConnection(t *testing.T) {
	c, _, told := wireWith(t, unknownStream)
	c.left(3)
	c.wires.cutOff(time.Now().Add(-time.Minute))
	if *told != 0 || !c.wires.open[c] {
		t.Fatalf("told %d times before its time", *told)
	}
	writing := make(chan error, 1)
	go func() { // nobody reads
		_, err := c.Write(frame(frameData, 0, 1, 10))
		writing <- err
	}()
	c.wires.cutOff(time.Now().Add(time.Minute))
	if err := <-writing; err == nil {
		t.Error("the write went through")
	}
	if *told != 1 || len(c.wires.open) != 0 {
		t.Errorf("told %d times, %d connections kept", *told, len(c.wires.open))
	}
	a := &answer{}
	a.after(func() { *told++ })
	if c.wait(a); *told != 2 {
		t.Error("on a connection that has ended an answer waits")
	}
}
