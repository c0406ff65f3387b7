package daemon_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/inkan-project/inkan/daemon"
	"github.com/inkan-project/inkan/daemon/daemontest"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
	"github.com/inkan-project/inkan/token"
)

// rawClient speaks gRPC without the SDK, which behaves.
func rawClient(t *testing.T, d *daemontest.Daemon) inkanpb.StatusServiceClient {
	t.Helper()
	conn, err := grpc.NewClient("unix:"+d.Socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return inkanpb.NewStatusServiceClient(conn)
}

func TestAConnectionHasThirtyTwoStreamsAndNoMore(t *testing.T) {
	d := daemontest.Start(t, daemontest.Options{})
	c := rawClient(t, d)
	watch := func(ctx context.Context) (context.CancelFunc, error) {
		ctx, cancel := context.WithCancel(ctx)
		stream, err := c.WatchStatus(ctx, &inkanpb.WatchStatusRequest{})
		if err == nil {
			_, err = stream.Recv()
		}
		return cancel, err
	}
	var end context.CancelFunc
	for i := range 32 {
		cancel, err := watch(t.Context())
		if err != nil {
			t.Fatalf("stream %d: %v", i+1, err)
		}
		t.Cleanup(cancel)
		end = cancel
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if one, err := watch(ctx); status.Code(err) != codes.DeadlineExceeded {
		one()
		t.Errorf("stream 33: %v, want none while there are 32", err)
	}
	end()
	one, err := watch(t.Context())
	if err != nil {
		t.Errorf("a stream after another has ended: %v", err)
	}
	one()
}

func TestHeadersAreBounded(t *testing.T) {
	d := daemontest.Start(t, daemontest.Options{})
	c := rawClient(t, d)
	for size, works := range map[int]bool{1 << 10: true, 16 << 10: false} {
		ctx := metadata.AppendToOutgoingContext(t.Context(), "accept-language", strings.Repeat("j", size))
		if _, err := c.GetStatus(ctx, &inkanpb.GetStatusRequest{}); (err == nil) != works {
			t.Errorf("headers of %d bytes: %v", size, err)
		}
	}
}

func TestALargeConfigurationFileIsNotRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "inkan.toml")
	for size, want := range map[int]token.Kind{64 << 10: "", 64<<10 + 1: token.KindConfigInvalid} {
		if err := os.WriteFile(path, bytes.Repeat([]byte("\n"), size), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := daemon.Load(path)
		if err == nil && want != "" || err != nil && token.KindOf(err) != want {
			t.Errorf("file of %d bytes: %v, want %q", size, err, want)
		}
	}
}

// Who may do what is for the policy to say, which knows the caller; the files
// of the sockets keep nobody out.
func TestBothSocketsAreOpenToEveryUser(t *testing.T) {
	d := daemontest.Start(t, daemontest.Options{})
	for _, path := range []string{d.Socket, filepath.Join(filepath.Dir(d.Socket), "pin.sock")} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o666 {
			t.Errorf("%s: %v, %v, want mode 0666", path, info.Mode(), err)
		}
	}
}

func TestStartAndStopAreInTheLog(t *testing.T) {
	dir := t.TempDir()
	daemontest.Start(t, daemontest.Options{Dir: dir}).Stop()
	d := daemontest.Start(t, daemontest.Options{Dir: dir})
	var kinds []inkanpb.RecordKind
	for r, err := range d.Client(nil).Records(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, r.GetKind())
	}
	want := []inkanpb.RecordKind{inkanpb.RecordKind_RECORD_KIND_START, inkanpb.RecordKind_RECORD_KIND_STOP, inkanpb.RecordKind_RECORD_KIND_START}
	if !slices.Equal(kinds, want) {
		t.Errorf("records %v, want %v", kinds, want)
	}
}

// TestTheNinthConnectionOfAUserIsToldWhy is T32 as a program meets it.
func TestTheNinthConnectionOfAUserIsToldWhy(t *testing.T) {
	d := daemontest.Start(t, daemontest.Options{Config: func(c *daemon.Config) { c.Limits.UserConnections = 8 }})
	_, err := rawClient(t, d).GetStatus(t.Context(), &inkanpb.GetStatusRequest{})
	for i := 1; err == nil; i++ { // those that the start of the test has open count, too
		if i > 8 {
			t.Fatal("connection 9 is served")
		}
		_, err = rawClient(t, d).GetStatus(t.Context(), &inkanpb.GetStatusRequest{})
	}
	if code := status.Code(err); code != codes.ResourceExhausted || !strings.Contains(err.Error(), "INK-4003") {
		t.Errorf("got %v, want INK-4003", err)
	}
}

func TestCallsThatComeTooFastAreToldSo(t *testing.T) {
	d := daemontest.Start(t, daemontest.Options{Config: func(c *daemon.Config) { c.Limits.UserRate = 10 }})
	c := rawClient(t, d)
	var err error
	for i := 0; err == nil; i++ {
		if i > 1000 {
			t.Fatal("1000 calls in a row are answered")
		}
		_, err = c.GetStatus(t.Context(), &inkanpb.GetStatusRequest{})
	}
	if code := status.Code(err); code != codes.ResourceExhausted || !strings.Contains(err.Error(), "INK-4003") {
		t.Errorf("got %v, want INK-4003", err)
	}
}

func TestLimitsOfTheConfigurationAreChecked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "inkan.toml")
	for text, want := range map[string]token.Kind{
		"[limits]\nuser_connections = 16\nuser_rate = 50\n": "",
		"[limits]\nuser_connections = -1\n":                 token.KindConfigInvalid,
		"[limits]\ncalls = 1000000\n":                       token.KindConfigInvalid,
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := daemon.Load(path); err == nil && want != "" || err != nil && token.KindOf(err) != want {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
