package rpc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/inkan-project/inkan/daemon/internal/audit"
	"github.com/inkan-project/inkan/daemon/internal/audit/audittest"
	"github.com/inkan-project/inkan/daemon/internal/policy"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// leaves reports whether a word is anywhere in what a caller gets.
func leaves(err error, word string) bool {
	st := status.Convert(err)
	return strings.Contains(fmt.Sprint(st.Message(), st.Details()), word)
}

func TestTheCauseOfAnInternalErrorStaysHere(t *testing.T) {
	for _, err := range []error{errors.New("opening /secret"), fmt.Errorf("doing: %w", errors.New("opening /secret"))} {
		if got := toStatus(err, "en"); status.Code(got) != codes.Internal || leaves(got, "secret") {
			t.Errorf("%v leaves as %v", err, got)
		}
	}
}

func TestAPanicOfAHandlerIsAnErrorOfItsCallAlone(t *testing.T) {
	ctx, _ := connection(t)
	s := newServer(t, signers(), nil, time.Now())
	_, err := s.unary(ctx, &inkanpb.GetStatusRequest{}, &grpc.UnaryServerInfo{FullMethod: signMethod},
		func(context.Context, any) (any, error) { panic("secret") })
	if status.Code(err) != codes.Internal || leaves(err, "secret") {
		t.Errorf("call: %v, want INTERNAL without its cause", err)
	}
	err = s.stream(nil, serverStream{ctx: ctx}, &grpc.StreamServerInfo{FullMethod: signMethod},
		func(any, grpc.ServerStream) error { panic("secret") })
	if status.Code(err) != codes.Internal || leaves(err, "secret") {
		t.Errorf("stream: %v, want INTERNAL without its cause", err)
	}
}

// stuckLog is a log whose disk does not answer.
type stuckLog struct {
	audittest.Memory
	asked, free chan struct{}
}

func (l *stuckLog) List(ctx context.Context, f audit.Filter) ([]audit.Row, error) {
	close(l.asked)
	<-l.free
	return l.Memory.List(ctx, f)
}

func TestAStopWaitsForCallsUntilItsTimeIsOver(t *testing.T) {
	stuck := &stuckLog{asked: make(chan struct{}), free: make(chan struct{})}
	log, err := audit.Open(t.Context(), audit.Config{Storage: stuck, Now: audittest.Clock()})
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(t, policy.Config{VirtualUID: ownUID()}, log, time.Now())
	path := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	conn, err := grpc.NewClient("unix:"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	called := make(chan error, 1)
	go func() {
		_, err := inkanpb.NewAuditServiceClient(conn).List(context.Background(), &inkanpb.ListRequest{})
		called <- err
	}()
	<-stuck.asked
	over, cancel := context.WithCancel(t.Context())
	cancel()
	stopped := make(chan struct{})
	go func() { s.Stop(over); close(stopped) }()
	select {
	case <-stopped:
	case <-time.After(10 * time.Second):
		t.Error("Stop waits for a call that does not end")
	}
	if err := <-called; err == nil {
		t.Error("the call that was cut off gives no error")
	}
	close(stuck.free)
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
}
