package prompt

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
	"github.com/inkan-project/inkan/token"
)

// demoPIN is the PIN of the virtual card.
const demoPIN = "123456"

// promptGID is the group of the trusted prompt in tests.
const promptGID = 700

// pages is a PINReader with pages that nothing protects.
type pages struct {
	reads  atomic.Int32
	refuse error
}

func (p *pages) ReadFD(fd, length int) (*token.PIN, error) {
	p.reads.Add(1)
	if p.refuse != nil {
		return nil, p.refuse
	}
	page := make([]byte, token.PINPageMin)
	n, err := unix.Pread(fd, page[token.PINHeadroom:][:token.PINCapacity], 0)
	if err != nil || n != length {
		return nil, errors.Join(err, errors.New("descriptor does not hold the PIN"))
	}
	return token.NewPIN(page, length, nil)
}

// harness is a Server on a real socket.
type harness struct {
	t      *testing.T
	server *Server
	pages  *pages
	path   string
	who    chan Peer // who connects next
	stop   context.CancelFunc
	done   chan error // what Serve returned
}

// newHarness starts a Server; change, if not nil, edits its configuration.
func newHarness(t *testing.T, change func(*Config)) *harness {
	t.Helper()
	h := &harness{
		t: t, pages: &pages{}, path: filepath.Join(t.TempDir(), "pin.sock"),
		who: make(chan Peer, 1), done: make(chan error, 1),
	}
	config := Config{
		PINs: h.pages, PromptGID: new(uint32(promptGID)),
		Identify: func(*net.UnixConn) (Peer, error) { return <-h.who, nil },
	}
	if change != nil {
		change(&config)
	}
	h.server = New(config)
	ln, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: h.path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	h.stop = stop
	go func() { h.done <- h.server.Serve(ctx, ln) }()
	t.Cleanup(func() {
		stop()
		select {
		case err := <-h.done:
			if err != nil {
				t.Errorf("Serve() = %v, want nil", err)
			}
		case <-time.After(10 * time.Second):
			t.Error("Serve does not return")
		}
	})
	return h
}

// end stops the Server and waits for it.
func (h *harness) end() {
	h.t.Helper()
	h.stop()
	err := <-h.done
	h.done <- err // for the clean-up
}

// testAgent is the other end of pin.sock.
type testAgent struct {
	t    *testing.T
	conn *net.UnixConn
	id   string
	dead *atomic.Bool // makes its Peer say so
}

// connect connects as a process of this user and group, without a word.
func (h *harness) connect(uid, gid uint32) *testAgent {
	h.t.Helper()
	a := &testAgent{t: h.t, dead: new(atomic.Bool)}
	h.who <- Peer{
		UID: uid, GID: gid, PID: int32(os.Getpid()),
		Alive: func() error {
			if a.dead.Load() {
				return errors.New("it is gone")
			}
			return nil
		},
		Close: func() {},
	}
	conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: h.path, Net: "unixpacket"})
	if err != nil {
		h.t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second)) // no test hangs
	h.t.Cleanup(func() { _ = conn.Close() })
	a.conn = conn
	return a
}

// agent connects and says hello.
func (h *harness) agent(uid, gid uint32, ownCallsOnly bool) *testAgent {
	h.t.Helper()
	a := h.connect(uid, gid)
	a.send(hello(1, ownCallsOnly))
	a.id = a.receive().GetWelcome().GetAgentId()
	if len(a.id) != 32 {
		h.t.Fatalf("agent id %q, want 32 hexadecimal digits", a.id)
	}
	return a
}

func hello(version uint32, ownCallsOnly bool) *inkanpb.PinPacket {
	return &inkanpb.PinPacket{Packet: &inkanpb.PinPacket_Hello{
		Hello: &inkanpb.AgentHello{Version: version, OwnCallsOnly: ownCallsOnly},
	}}
}

func answer(id string, length int) *inkanpb.PinPacket {
	return &inkanpb.PinPacket{Packet: &inkanpb.PinPacket_Answer{
		Answer: &inkanpb.PinAnswer{PromptId: id, Length: uint32(length)},
	}}
}

func cancelled(id string) *inkanpb.PinPacket {
	return &inkanpb.PinPacket{Packet: &inkanpb.PinPacket_Cancel{Cancel: &inkanpb.PinCancel{PromptId: id}}}
}

func (a *testAgent) send(p *inkanpb.PinPacket, fds ...int) {
	a.t.Helper()
	data, err := proto.Marshal(p)
	if err != nil {
		a.t.Fatal(err)
	}
	a.sendBytes(data, fds...)
}

// sendBytes sends a datagram. The other end may be gone already.
func (a *testAgent) sendBytes(data []byte, fds ...int) {
	a.t.Helper()
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	_, _, err := a.conn.WriteMsgUnix(data, oob, nil)
	if err != nil && !errors.Is(err, unix.EPIPE) && !errors.Is(err, unix.ECONNRESET) {
		a.t.Fatal(err)
	}
}

func (a *testAgent) receive() *inkanpb.PinPacket {
	a.t.Helper()
	buf := make([]byte, 2*maxPacket)
	n, err := a.conn.Read(buf)
	if err != nil {
		a.t.Fatalf("agent reads: %v", err)
	}
	if n > maxPacket {
		a.t.Errorf("packet has %d bytes, want at most %d", n, maxPacket)
	}
	p := &inkanpb.PinPacket{}
	if err := proto.Unmarshal(buf[:n], p); err != nil {
		a.t.Fatal(err)
	}
	return p
}

// prompted waits for a prompt.
func (a *testAgent) prompted() *inkanpb.PinPrompt {
	a.t.Helper()
	p := a.receive().GetPrompt()
	if p == nil {
		a.t.Fatal("the packet is not a prompt")
	}
	return p
}

// dropped waits for the end of the connection.
func (a *testAgent) dropped() {
	a.t.Helper()
	buf := make([]byte, maxPacket)
	for {
		if _, err := a.conn.Read(buf); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				a.t.Error("the agent is still connected")
			}
			return
		}
	}
}

// gone disconnects an agent of uid 1000 and waits until the Server knows.
func (h *harness) gone(a *testAgent) {
	h.t.Helper()
	_ = a.conn.Close()
	r := request()
	r.Agent = a.id
	for {
		ask := h.ask(h.t.Context(), r) // ends at once: nobody is there
		<-ask.done
		if token.KindOf(ask.err) == token.KindNoPINAgent {
			return
		}
	}
}

// refused says hello and waits for the end of the connection, without a
// welcome.
func (a *testAgent) refused() {
	a.t.Helper()
	a.send(hello(1, false))
	if n, err := a.conn.Read(make([]byte, maxPacket)); err == nil {
		a.t.Errorf("the agent is welcomed with %d bytes, want the end", n)
	}
}

// memfd returns a memfd with contents, closed at the end of the test.
func memfd(t testing.TB, contents string) int {
	t.Helper()
	fd, err := unix.MemfdCreate("pin", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if _, err := unix.Pwrite(fd, []byte(contents), 0); err != nil {
		t.Fatal(err)
	}
	return fd
}

// request is a question of uid 1000.
func request() Request {
	return Request{
		UID: 1000, Ask: AskPIN, Card: "piv-00", Purpose: "sign", Timeout: time.Minute,
		Format: token.PINFormat{MinLength: 6, MaxLength: 8},
	}
}

// asking asks in the background.
type asking struct {
	t      *testing.T
	answer Answer
	err    error
	done   chan struct{}
}

func (h *harness) ask(ctx context.Context, r Request) *asking {
	a := &asking{t: h.t, done: make(chan struct{})}
	go func() {
		defer close(a.done)
		a.answer, a.err = h.server.Ask(ctx, r)
	}()
	return a
}

// fails waits for the error.
func (a *asking) fails(want token.Kind) {
	a.t.Helper()
	_ = a.failure(want)
}

// failure waits for the error and returns it.
func (a *asking) failure(want token.Kind) *token.Error {
	a.t.Helper()
	<-a.done
	if a.answer.PIN != nil {
		a.t.Error("there is a PIN beside the error")
	}
	e, ok := errors.AsType[*token.Error](a.err)
	if !ok || e.Kind != want {
		a.t.Fatalf("Ask() = %v, want %s", a.err, want)
	}
	return e
}

// gives waits for the PIN and checks it.
func (a *asking) gives(pin string, source Source) {
	a.t.Helper()
	<-a.done
	if a.err != nil {
		a.t.Fatalf("Ask() = %v", a.err)
	}
	defer a.answer.PIN.Wipe()
	if pin == "" && a.answer.PIN.Len() == 0 {
		return
	}
	got, err := a.answer.PIN.Command(nil, 0, 0)
	if err != nil || string(got) != pin || a.answer.Source != source {
		a.t.Errorf("Ask() = %d bytes from %s (%v), want %d from %s", len(got), a.answer.Source, err, len(pin), source)
	}
}

// openFiles counts our descriptors.
func openFiles(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}
