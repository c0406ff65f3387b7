package loadtest_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/inkan-project/inkan/daemon"
	"github.com/inkan-project/inkan/daemon/daemontest"
	"github.com/inkan-project/inkan/pcsc/virtual"
	"github.com/inkan-project/inkan/pcsc/virtual/pivcard"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

const (
	signerGroup = "users" // exists on every Debian system (base-passwd)
	signerGID   = 100
	patience    = 30 * time.Second
	shared      = "/tmp" // every user comes here; not to the folder of a fault class
)

// tier is that of the fault catalogue; "" is the small share that go test does.
func tier() string { return os.Getenv("INKAN_FAULTS_TIER") }

func pick[T any](share, commit, nightly, release T) T {
	return map[string]T{"": share, "c": commit, "n": nightly, "r": release}[tier()]
}

// board counts what happened and prints it for the fault catalogue.
type board struct {
	t              *testing.T
	faults, broken int
}

func newBoard(t *testing.T) *board {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: calling as other users")
	}
	b := &board{t: t}
	t.Cleanup(func() { fmt.Printf("faults=%d violations=%d\n", b.faults, b.broken) })
	return b
}

// violation notes that an invariant does not hold.
func (b *board) violation(invariant int, format string, args ...any) {
	b.t.Helper()
	b.broken++
	text := fmt.Sprintf(format, args...)
	fmt.Printf("VIOLATION I%d %s: %s\n", invariant, b.t.Name(), text)
	b.t.Errorf("I%d: %s", invariant, text)
}

// house is an inkand with one reader and card for each directory.
type house struct {
	*daemontest.Daemon
	cards []string // their directories
}

// newHouse starts an inkand with its real limits and so many cards.
func newHouse(t *testing.T, cards int, behaviour pivcard.Behaviour) *house {
	t.Helper()
	dir, err := os.MkdirTemp(shared, "inkan-load") // short: the path of a socket has 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { // every user may connect
		t.Fatal(err)
	}
	names := []string{virtual.DefaultReader}
	for i := 1; i < cards; i++ {
		names = append(names, "Inkan Virtual Reader "+strconv.Itoa(10+i))
	}
	h := &house{cards: []string{filepath.Join(dir, "card")}}
	h.Daemon = daemontest.Start(t, daemontest.Options{
		Dir: dir, Behaviour: behaviour, Hooks: virtual.Options{Readers: names},
		Config: func(c *daemon.Config) { c.SignerGroup, c.Limits = signerGroup, daemon.LimitsConfig{} },
	})
	for i, name := range names[1:] {
		own := filepath.Join(dir, "card"+strconv.Itoa(i+1))
		card, err := pivcard.Open(pivcard.Options{Dir: own, Behaviour: behaviour, Keys: map[pivcard.Slot]pivcard.KeyType{
			pivcard.SlotAuthentication: pivcard.P256, pivcard.SlotCardAuth: pivcard.P256,
		}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = card.Close() })
		if err := h.Reader.Insert(name, card); err != nil {
			t.Fatal(err)
		}
		h.cards = append(h.cards, own)
	}
	h.Await(func(s *inkanpb.Status) bool { return len(s.GetCards()) == cards })
	return h
}

// keys returns the keys of a slot, one of each card.
func (h *house) keys(t *testing.T, slot string) []*inkanpb.Key {
	t.Helper()
	c := h.Client(nil)
	defer c.Close()
	all, err := c.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(all, func(k *inkanpb.Key) bool { return k.GetSlot() != slot })
}

// signed counts the signatures that the cards made.
func (h *house) signed(t *testing.T) (n int) {
	t.Helper()
	for _, dir := range h.cards {
		truth, err := pivcard.ReadTruth(dir)
		if err != nil {
			t.Fatal(err)
		}
		n += len(truth.Signatures)
	}
	return n
}

// connectAs connects as another user: the kernel keeps who called connect(2),
// which is this thread.
func connectAs(uid int, kind int, path string) (*net.UnixConn, error) {
	fd, err := unix.Socket(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), path)
	defer file.Close() // FileConn has its own
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	same := ^uintptr(0)
	become := func(call uintptr, id int) {
		if _, _, errno := unix.RawSyscall(call, same, uintptr(id), same); errno != 0 {
			panic(errno) // the thread would be somebody else
		}
	}
	become(unix.SYS_SETRESGID, signerGID)
	become(unix.SYS_SETRESUID, uid)
	err = unix.Connect(fd, &unix.SockaddrUnix{Name: path})
	become(unix.SYS_SETRESUID, 0)
	become(unix.SYS_SETRESGID, 0)
	if err != nil {
		return nil, err
	}
	conn, err := net.FileConn(file)
	if err != nil {
		return nil, err
	}
	unixConn, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("connection of type %T", conn), conn.Close())
	}
	return unixConn, nil
}

// dialAs speaks gRPC as another user.
func dialAs(uid int, socket string) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:inkand", grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableRetry(),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return connectAs(uid, unix.SOCK_STREAM, socket) }))
}

// level is what the process has open.
type level struct{ goroutines, fds int }

func levelNow(t *testing.T) level {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return level{runtime.NumGoroutine(), len(entries)}
}

// back waits until the process has no more open than at first.
func (b *board) back(first level) {
	b.t.Helper()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	end := time.Now().Add(patience)
	now := levelNow(b.t)
	for ; now.goroutines > first.goroutines || now.fds > first.fds; now = levelNow(b.t) {
		if time.Now().After(end) {
			stacks := make([]byte, 1<<20)
			b.violation(11, "%d goroutines and %d descriptors are left, %d and %d before", now.goroutines, now.fds, first.goroutines, first.fds)
			b.t.Logf("%s", stacks[:runtime.Stack(stacks, true)])
			return
		}
		<-look.C
	}
	b.t.Logf("back at %d goroutines, %d descriptors; %d and %d before", now.goroutines, now.fds, first.goroutines, first.fds)
}

// residentKB is what the process has in memory (proc_pid_status(5)): VmRSS
// or, with the most there ever was, VmHWM.
func residentKB(t testing.TB, pid int, line string) (kb int) {
	t.Helper()
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		t.Fatal(err)
	}
	for l := range strings.Lines(string(text)) {
		if _, err := fmt.Sscanf(l, line+": %d kB", &kb); err == nil {
			return kb
		}
	}
	t.Fatalf("no %s of process %d", line, pid)
	return 0
}

// quantile of durations, sorted here.
func quantile(took []time.Duration, q float64) time.Duration {
	slices.Sort(took)
	return took[min(len(took)-1, int(math.Ceil(q*float64(len(took))))-1)]
}

func signRequest(key *inkanpb.Key) *inkanpb.SignRequest {
	return &inkanpb.SignRequest{KeyId: key.GetId(), Algorithm: inkanpb.Algorithm_ALGORITHM_ECDSA_SHA256, Digest: make([]byte, 32)}
}
