package daemon

import (
	"net"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/inkan-project/inkan/daemon/internal/peer"
	"github.com/inkan-project/inkan/daemon/internal/policy"
	"github.com/inkan-project/inkan/token"
)

func TestTheProcessIsNeitherDumpedNorReadByOthers(t *testing.T) {
	before, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := harden(); err != nil {
		t.Fatal(err)
	}
	now, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	if restored := unix.Prctl(unix.PR_SET_DUMPABLE, uintptr(before), 0, 0, 0); restored != nil {
		t.Fatal(restored) // other tests read /proc/self
	}
	if err != nil || now != 0 {
		t.Errorf("dumpable is %d, %v; want 0 (prctl(2), PR_SET_DUMPABLE)", now, err)
	}
	var core unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &core); err != nil || core != (unix.Rlimit{}) {
		t.Errorf("core dumps are limited to %d of at most %d bytes, %v; want 0 and 0", core.Cur, core.Max, err)
	}
}

func TestVariablesByWhichLibrariesWritePINsOutAreRefused(t *testing.T) {
	for environ, want := range map[string]token.Kind{
		"LIBPCSCLITE_DELEGATE=/tmp/spy.so":  token.KindEnvironmentRefused,
		"GRPC_BINARY_LOG_FILTER=*":          token.KindEnvironmentRefused,
		"OPENSC_DEBUG=9":                    token.KindEnvironmentRefused,
		"MY_GRPC_BINARY_LOG_FILTER=*":       "",
		"GRPC_BINARY_LOG_FILTER_OF_OTHERS=": "",
	} {
		err := checkEnvironment(append(os.Environ(), environ))
		if err == nil && want != "" || err != nil && token.KindOf(err) != want {
			t.Errorf("with %s: %v, want %q", environ, err, want)
		}
	}
}

// agentConn is a connection from this process to the PIN socket.
func agentConn(t *testing.T) *net.UnixConn {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(pair[1]) })
	file := os.NewFile(uintptr(pair[0]), "socket")
	defer func() { _ = file.Close() }() // FileConn has its own
	conn, err := net.FileConn(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	socket, ok := conn.(*net.UnixConn)
	if !ok {
		t.Fatalf("connection of type %T", conn)
	}
	return socket
}

func TestTheProgramBehindAPINAgentIsKnownToBeGone(t *testing.T) {
	if peer.Mode() != "pidfd" {
		t.Skip("needs SO_PEERPIDFD, Linux 6.5")
	}
	who, err := identifyAgent(policy.New(policy.Config{VirtualUID: currentUID()}), nil, nil)(agentConn(t))
	if err != nil || who.UID != *currentUID() || int(who.PID) != os.Getpid() {
		t.Fatalf("agent %+v, %v", who, err)
	}
	if err := who.Alive(); err != nil {
		t.Errorf("while it runs: %v", err)
	}
	who.Close()
	if who.Alive() == nil {
		t.Error("it is taken for alive when nobody can tell any more")
	}
}

func TestWhoMayNotSignGivesNoPINs(t *testing.T) {
	if who, err := identifyAgent(policy.New(policy.Config{}), nil, nil)(agentConn(t)); err == nil {
		t.Errorf("agent %+v is taken", who)
	}
}
