package cardcmd_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/inkan-project/inkan/pcsc/virtual/cardcmd"
	"github.com/inkan-project/inkan/pcsc/virtual/pivcard"
)

// asCard tells the test binary to be the program.
const asCard = "INKAN_TEST_CARDCMD"

func TestMain(m *testing.M) {
	if os.Getenv(asCard) != "" {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		code := cardcmd.Main(ctx, os.Args[1:], os.Stdout, os.Stderr)
		stop()
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// vpcd is the other side of the program's connection.
type vpcd struct {
	*testing.T
	listener net.Listener
	conn     net.Conn
}

func newVPCD(t *testing.T) *vpcd {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return &vpcd{T: t, listener: listener}
}

func (v *vpcd) address() string { return v.listener.Addr().String() }

// accept waits for a card.
func (v *vpcd) accept() {
	v.Helper()
	conn, err := v.listener.Accept()
	if err != nil {
		v.Fatal(err)
	}
	v.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	v.conn = conn
}

// send sends a message and returns the answer, if one is wanted.
func (v *vpcd) send(message []byte, wanted bool) []byte {
	v.Helper()
	if _, err := v.conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(message))), message...)); err != nil {
		v.Fatal(err)
	}
	if !wanted {
		return nil
	}
	var length [2]byte
	if _, err := io.ReadFull(v.conn, length[:]); err != nil {
		v.Fatal(err)
	}
	answer := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(v.conn, answer); err != nil {
		v.Fatal(err)
	}
	return answer
}

func TestProgramPutsTheCardInAndEndsInOrder(t *testing.T) {
	v := newVPCD(t)
	state := filepath.Join(t.TempDir(), "card")
	cmd := exec.CommandContext(t.Context(), os.Args[0], "--state", state, "--vpcd", v.address(), "--keys", "9a=P-256")
	cmd.Env = append(os.Environ(), asCard+"=1")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time as after a restart of pcscd
		v.accept()
		if atr := v.send([]byte{4}, true); len(atr) < 2 || atr[0] != 0x3B {
			t.Errorf("ATR %X", atr)
		}
		v.send([]byte{1}, false)
		if answer := v.send([]byte("\x00\xA4\x04\x00\x05\xA0\x00\x00\x03\x08\x00"), true); !bytes.HasSuffix(answer, []byte{0x90, 0x00}) {
			t.Errorf("SELECT answered %X", answer)
		}
		_ = v.conn.Close()
	}
	v.accept()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if _, err := v.conn.Read(make([]byte, 1)); err == nil {
		t.Error("the card stays in the reader")
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v, want exit code 0: %s", err, &out)
	}
	for _, want := range []string{"virtual card", "PIN " + pivcard.DemoPIN, "unlock code " + pivcard.DemoUnlockCode} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("output %q lacks %q", &out, want)
		}
	}
	if truth, err := pivcard.ReadTruth(state); err != nil || truth.Resets != 2 || truth.Commands[0xA4] != 2 {
		t.Errorf("truth %+v, %v, want two power-ons and two SELECT", truth, err)
	}
}

func TestTheReaderIsWaitedForAloud(t *testing.T) {
	const times = 3 // that the reader comes and goes
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	v := newVPCD(t)
	address := v.address()
	_ = v.listener.Close()
	var out syncBuffer
	ended := make(chan int, 1)
	go func() {
		ended <- cardcmd.Main(ctx, []string{"--state", filepath.Join(t.TempDir(), "card"), "--vpcd", address, "--keys", "9a=P-256"}, io.Discard, &out)
	}()
	waits, connected := "inkan-virtual-card: waiting for vpcd at "+address+": ", "inkan-virtual-card: connected to vpcd at "+address+"\n"
	out.await(t, waits, 1)
	for n := range times { // each time it is away it is said once, however often it is looked for
		listener, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		_ = listener.Close()
		out.await(t, connected, n+1)
		_ = conn.Close()
		out.await(t, waits, n+2)
	}
	cancel()
	if code := <-ended; code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	if got := strings.Count(out.String(), "\n"); got != 2*times+1 {
		t.Errorf("%d lines, want %d:\n%s", got, 2*times+1, out.String())
	}
}

// syncBuffer is what a running program has written so far.
type syncBuffer struct {
	mu      sync.Mutex // guards all
	b       bytes.Buffer
	written chan struct{} // closed at the next write
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.written != nil {
		close(s.written)
		s.written = nil
	}
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// await waits until a text was written n times.
func (s *syncBuffer) await(t *testing.T, line string, n int) {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		s.mu.Lock()
		if s.written == nil {
			s.written = make(chan struct{})
		}
		written, now := s.written, s.b.String()
		s.mu.Unlock()
		if strings.Count(now, line) >= n {
			return
		}
		select {
		case <-written:
		case <-deadline:
			t.Fatalf("never written %d times: %q; so far:\n%s", n, line, now)
		}
	}
}

func TestExitCodes(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	write := func(name, content string) string {
		if err := os.WriteFile(path(name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path(name)
	}
	used, err := pivcard.Open(pivcard.Options{Dir: path("used"), Keys: map[pivcard.Slot]pivcard.KeyType{}})
	if err != nil {
		t.Fatal(err)
	}
	defer used.Close()
	made, err := pivcard.Open(pivcard.Options{Dir: path("made"), Keys: map[pivcard.Slot]pivcard.KeyType{}})
	if err != nil {
		t.Fatal(err)
	}
	_ = made.Close()
	if err := os.Mkdir(path("damaged"), 0o700); err != nil {
		t.Fatal(err)
	}
	write("damaged/card.json", "{}")
	file := write("behaviour.json", `{"limit": 3}`)
	tests := []struct {
		name string
		args string
		code int
		want string // in what it says
	}{
		{"help", "--help", 0, "Exit codes"},
		{"nothing", "", 64, "--state and --vpcd are needed"},
		{"no reader", "--state " + path("x"), 64, "are needed"},
		{"no port", "--state " + path("x") + " --vpcd here", 64, `"here" is not HOST:PORT`},
		{"no number", "--state " + path("x") + " --vpcd here:vpcd", 64, `port "vpcd" is not a number from 1 to 65535`},
		{"port 0", "--state " + path("x") + " --vpcd here:0", 64, "1 to 65535"},
		{"port 65536", "--state " + path("x") + " --vpcd 127.0.0.1:65536", 64, "1 to 65535"},
		{"negative port", "--state " + path("x") + " --vpcd here:-1", 64, "1 to 65535"},
		{"no host", "--state " + path("x") + " --vpcd :35963", 64, "neither a host name nor an IP address"},
		{"no such name", "--state " + path("x") + " --vpcd http://here:35963", 64, "not HOST:PORT"},
		{"strange host", "--state " + path("x") + " --vpcd ho!st:35963", 64, `"ho!st" is neither`},
		{"unknown flag", "--pin 1", 64, "not defined"},
		{"too much", "--state x --vpcd a:1 more", 64, `what is "more"`},
		{"bad keys", "--state " + path("x") + " --vpcd a:1 --keys 9b=P-256", 64, "SLOT=TYPE"},
		{"unknown profile", "--state " + path("x") + " --vpcd a:1 --profile nobody", 64, "no such name"},
		{"bad profile", "--state " + path("x") + " --vpcd a:1 --profile " + write("bad.json", `{"limt": 3}`), 64, "limt"},
		{"another profile", "--state " + path("made") + " --vpcd a:1 --profile " + file, 64, "another way"},
		{"damaged", "--state " + path("damaged") + " --vpcd a:1", 65, "damaged"},
		{"no directory", "--state " + file + " --vpcd a:1", 73, "directory"},
		{"in use", "--state " + path("used") + " --vpcd a:1", 75, "in use"},
		{"IPv6", "--state " + path("new6") + " --vpcd [::1]:1 --keys 9e=P-256", 0, "virtual card"},
		{"stopped at once", "--state " + path("new") + " --vpcd 127.0.0.1:1 --keys 9e=P-256 --profile " + file, 0, "virtual card"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			var out bytes.Buffer
			if code := cardcmd.Main(ctx, strings.Fields(tt.args), &out, &out); code != tt.code || !strings.Contains(out.String(), tt.want) {
				t.Errorf("exit code %d, %s, want %d and %q", code, &out, tt.code, tt.want)
			}
		})
	}
	if _, err := os.Stat(path("x")); err == nil {
		t.Error("a wrong command line made a card")
	}
}
