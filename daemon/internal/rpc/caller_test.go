package rpc

import (
	"context"
	"log/slog"
	"net"
	"os"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	grpcpeer "google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/inkan-project/inkan/daemon/internal/audit"
	"github.com/inkan-project/inkan/daemon/internal/audit/audittest"
	"github.com/inkan-project/inkan/daemon/internal/broker"
	"github.com/inkan-project/inkan/daemon/internal/peer"
	"github.com/inkan-project/inkan/daemon/internal/policy"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
	"github.com/inkan-project/inkan/token"
)

const signMethod = "/inkan.v1.SigningService/Sign"

// plainUser is a user who is not root: nobody, or whoever runs the test.
func plainUser() uint32 {
	if uid := os.Getuid(); uid != 0 {
		return uint32(uid)
	}
	return 65534
}

// ownUID is the user that runs the test.
func ownUID() *uint32 { return new(uint32(os.Getuid())) }

// connection returns the context of calls from a plain user of our own group,
// and the connection whose end is the end of the caller.
func connection(t *testing.T) (context.Context, net.Conn) {
	t.Helper()
	pair := pairOf(t, plainUser())
	t.Cleanup(func() { _ = unix.Close(pair[1]) })
	file := os.NewFile(uintptr(pair[0]), "socket")
	defer func() { _ = file.Close() }() // FileConn has its own
	conn, err := net.FileConn(file)
	if err != nil {
		t.Fatal(err)
	}
	conn, info, err := peer.Credentials().ServerHandshake(conn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return grpcpeer.NewContext(t.Context(), &grpcpeer.Peer{AuthInfo: info}), conn
}

// pairOf makes a pair of sockets as a user: the kernel notes the user of the
// thread that makes it, so that root can be another one for a moment.
func pairOf(t *testing.T, uid uint32) [2]int {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	become := func(uid int) {
		same := ^uintptr(0)
		if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, same, uintptr(uid), same); errno != 0 {
			t.Fatalf("becoming user %d: %v", uid, errno)
		}
	}
	become(int(uid))
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	become(os.Getuid())
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// newServer has a policy of its own and no cards.
func newServer(t *testing.T, cfg policy.Config, log *audit.Log, now time.Time) *Server {
	t.Helper()
	logger := slog.New(slog.DiscardHandler)
	s, err := New(Config{
		Broker: broker.New(broker.Config{Now: func() time.Time { return now }, Logger: logger}),
		Log:    log, Policy: policy.New(cfg), Logger: logger,
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// signers are the members of our own group.
func signers() policy.Config { return policy.Config{SignerGID: new(uint32(os.Getgid()))} }

// serverStream is a stream of which only the context is looked at.
type serverStream struct {
	grpc.ServerStream
	ctx context.Context //nolint:containedctx // grpc.ServerStream hands its context out
}

func (s serverStream) Context() context.Context { return s.ctx }

// reaches calls a method as a single call and as a stream, and reports which
// of the two reached its handler.
func reaches(t *testing.T, s *Server, ss serverStream, method string, want codes.Code) (call, stream bool) {
	t.Helper()
	_, err := s.unary(ss.ctx, &inkanpb.GetStatusRequest{}, &grpc.UnaryServerInfo{FullMethod: method},
		func(context.Context, any) (any, error) { call = true; return nil, nil })
	if status.Code(err) != want {
		t.Errorf("call: %v, want %v", err, want)
	}
	err = s.stream(nil, ss, &grpc.StreamServerInfo{FullMethod: method},
		func(any, grpc.ServerStream) error { stream = true; return nil })
	if status.Code(err) != want {
		t.Errorf("stream: %v, want %v", err, want)
	}
	return call, stream
}

func TestWhatThePolicyDeniesReachesNoHandler(t *testing.T) {
	ctx, _ := connection(t)
	tests := map[string]struct {
		ctx    context.Context
		policy policy.Config
		method string
		want   codes.Code
	}{
		"a signer signs":                     {ctx, signers(), signMethod, codes.OK},
		"somebody else does not":             {ctx, policy.Config{}, signMethod, codes.PermissionDenied},
		"a method that the policy lacks":     {ctx, signers(), "/inkan.v1.SigningService/SignAll", codes.Unimplemented},
		"a call without a caller":            {t.Context(), signers(), signMethod, codes.PermissionDenied},
		"the same to a method for everybody": {t.Context(), signers(), "/grpc.health.v1.Health/Check", codes.PermissionDenied},
		"everybody asks whether it is there": {ctx, policy.Config{}, "/grpc.health.v1.Health/Check", codes.OK},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, tt.policy, nil, time.Now())
			call, stream := reaches(t, s, serverStream{ctx: tt.ctx}, tt.method, tt.want)
			if reached := tt.want == codes.OK; call != reached || stream != reached {
				t.Errorf("handler of the call reached %t, of the stream %t, want %t", call, stream, reached)
			}
		})
	}
}

func TestACallerThatIsGoneIsNotAdmittedAndTheBrokerCanTell(t *testing.T) {
	if peer.Mode() != "pidfd" {
		t.Skip("needs SO_PEERPIDFD, Linux 6.5")
	}
	ctx, conn := connection(t)
	s := newServer(t, signers(), nil, time.Now())
	who := caller(ctx)
	if err := who.Alive(); err != nil || who.UID != plainUser() || int(who.PID) != os.Getpid() {
		t.Fatalf("caller %+v, alive: %v", who, err)
	}
	_ = conn.Close()
	if _, err := s.admit(ctx, signMethod); token.KindOf(err) != token.KindCallerGone {
		t.Errorf("admit: %v, want CALLER_GONE", err)
	}
	if who.Alive() == nil {
		t.Error("to the broker the caller still lives")
	}
}

func TestWhoIsNoAuditorListsTheOwnRecordsAlone(t *testing.T) {
	log, err := audit.Open(t.Context(), audit.Config{Storage: &audittest.Memory{}, Now: audittest.Clock()})
	if err != nil {
		t.Fatal(err)
	}
	own, other := plainUser(), plainUser()+1
	for _, r := range []audit.Record{
		{Kind: audit.KindStart},
		{Kind: audit.KindRefused, HasUID: true, UID: other},
		{Kind: audit.KindRefused, HasUID: true, UID: own},
		{Kind: audit.KindRefused, HasUID: true, UID: 0},
	} {
		if _, err := log.Append(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	ctx, _ := connection(t)
	for name, tt := range map[string]struct {
		policy policy.Config
		want   []uint64
	}{
		"signer":  {signers(), []uint64{3}},
		"auditor": {policy.Config{VirtualUID: &own}, []uint64{1, 2, 3, 4}},
	} {
		for _, newest := range []bool{false, true} {
			resp, err := auditService{s: newServer(t, tt.policy, log, time.Now())}.List(ctx, &inkanpb.ListRequest{Newest: newest})
			if err != nil {
				t.Fatal(err)
			}
			var got []uint64
			for _, r := range resp.GetRecords() {
				got = append(got, r.GetSequence())
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("%s (newest %t) sees the records %v, want %v", name, newest, got, tt.want)
			}
		}
	}
}
