package rpc

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/inkan-project/inkan/daemon/internal/policy"
)

// shared is a socket that several servers take one after the other, as with
// systemd: it stays when one of them closes it.
type shared struct{ file *os.File }

func newShared(t *testing.T) (shared, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	file, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return shared{file}, path
}

func (s shared) listener(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.FileListener(s.file)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// once makes one call over a connection of its own, without retries.
func once(ctx context.Context, path string) error {
	conn, err := grpc.NewClient("unix://"+path, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableRetry())
	if err != nil {
		return err
	}
	_, err = healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{})
	return errors.Join(err, conn.Close())
}

// TestNoCallIsLostBetweenAServerAndTheNext: servers follow each other on one
// socket while programs call, each time over a new connection.
func TestNoCallIsLostBetweenAServerAndTheNext(t *testing.T) {
	socket, path := newShared(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	calling, enough := context.WithCancel(ctx)
	defer enough()
	var calls, seconds atomic.Int64
	var programs sync.WaitGroup
	for range 8 {
		programs.Go(func() {
			for calling.Err() == nil {
				if err := once(ctx, path); err != nil {
					t.Errorf("call %d is lost: %v", calls.Load(), err)
					enough()
				}
				calls.Add(1)
			}
		})
	}
	for server := range int64(12) {
		s := newServer(t, policy.Config{}, nil, time.Now())
		s.gate.limits.UserConnections = 100
		s.gate.now = func() time.Time { return time.Unix(seconds.Add(1), 0) } // nobody is too fast
		served := make(chan error, 1)
		go func() { served <- s.Serve(socket.listener(t)) }()
		for calls.Load() < 50*(server+1) && calling.Err() == nil {
			if err := once(ctx, path); err != nil {
				t.Fatal(err)
			}
		}
		if server == 11 {
			enough()
			programs.Wait()
		}
		s.Stop(ctx)
		if err := <-served; err != nil {
			t.Error(err)
		}
	}
	if calls.Load() < 300 {
		t.Errorf("only %d calls", calls.Load())
	}
}

func TestProbeSaysWhetherCallsAreAnswered(t *testing.T) {
	socket, path := newShared(t)
	address := &net.UnixAddr{Name: path, Net: "unix"}
	brief, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := Probe(brief, address); err == nil {
		t.Error("nobody accepts, and Probe says that calls are answered")
	}
	s := grpc.NewServer() // answers that it knows no such method
	l := socket.listener(t)
	defer s.Stop()
	go func() { _ = s.Serve(l) }() // ends with Stop
	if err := Probe(t.Context(), address); err == nil {
		t.Error("a service without status passes for ours")
	}
}
