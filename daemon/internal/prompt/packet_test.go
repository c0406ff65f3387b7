package prompt

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"buf.build/go/protovalidate"

	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
	"github.com/inkan-project/inkan/token"
)

func validator(t testing.TB) protovalidate.Validator {
	t.Helper()
	v, err := protovalidate.New()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// agentPackets are packets at and beyond every limit of pin.proto.
func agentPackets() []*inkanpb.PinPacket {
	var all []*inkanpb.PinPacket
	for _, v := range []uint32{0, 1, 2, 1000, 1001, 1<<32 - 1} {
		all = append(all, hello(v, true))
	}
	for _, id := range []string{"", "a", strings.Repeat("a", 64), strings.Repeat("a", 65), strings.Repeat("印", 64), strings.Repeat("印", 65)} {
		all = append(all, cancelled(id))
		for _, n := range []int{0, 64, 65, -1} {
			all = append(all, answer(id, n))
		}
	}
	return append(all, &inkanpb.PinPacket{})
}

func TestPacketsAreTakenExactlyWhenTheRulesOfTheContractHold(t *testing.T) {
	rules := validator(t)
	for _, p := range agentPackets() {
		data, err := proto.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		want := rules.Validate(p)
		if _, got := decode(data); (got == nil) != (want == nil) {
			t.Errorf("decode(%v) = %v, the contract says %v", p, got, want)
		} else if got != nil && !errors.Is(got, errProtocol) {
			t.Errorf("decode(%v) = %v, want errProtocol", p, got)
		}
	}
}

// The largest and strangest requests make prompts that keep the rules.
func TestEachPromptKeepsTheRulesOfTheContract(t *testing.T) {
	rules := validator(t)
	texts := map[string]string{
		"empty":                  "",
		"short":                  "株式会社サンプル",
		"long, one byte each":    strings.Repeat("a", 5000),
		"long, three bytes each": strings.Repeat("印", 5000),
		"long, four bytes each":  strings.Repeat("𠮷", 5000),
		"invalid UTF-8":          strings.Repeat("\xff\xc0", 3000),
		"control characters":     strings.Repeat("\x1b\u202e\u2028\x00", 2000),
	}
	for name, text := range texts {
		names := make([]string, 100)
		for i := range names {
			names[i] = text
		}
		for _, n := range []int{-1, 0, 1 << 40} {
			r := Request{
				Ask: AskPIN, Card: token.CardID(text), Program: text, Company: text, KeyLabel: text,
				Purpose: text, DocumentNames: names, DocumentCount: n, Tries: token.KnownTries(n), Timeout: time.Hour,
				Format: token.PINFormat{MinLength: n, MaxLength: n}, PID: -1,
			}
			packet := promptPacket(newID(), r)
			if err := rules.Validate(packet); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if data, err := proto.Marshal(packet); err != nil || len(data) > maxPacket {
				t.Errorf("%s: %d bytes (%v), want at most %d", name, len(data), err, maxPacket)
			}
			if got := len(packet.GetPrompt().GetDocumentNames()); got < 3 {
				t.Errorf("%s: %d names are shown, want at least 3", name, got)
			}
		}
	}
}

// A field that is added to a prompt must be filled in here, too.
func TestEachFieldOfAPromptIsFilledIn(t *testing.T) {
	r := request()
	r.Company, r.KeyLabel, r.Program, r.PID, r.Virtual = "c", "k", "p", 1, true
	r.DocumentNames, r.DocumentCount = []string{"d"}, 1
	r.Tries, r.TriesConfirmed = token.KnownTries(0), true
	r.Confirmation, r.Reason = "3", ReasonFewTries
	m := promptPacket("id", r).GetPrompt().ProtoReflect()
	for i := range m.Descriptor().Fields().Len() {
		if f := m.Descriptor().Fields().Get(i); !m.Has(f) {
			t.Errorf("%s is not filled in", f.Name())
		}
	}
}

func TestShownTextIsPrintableAndShort(t *testing.T) {
	tests := []struct{ name, got, want string }{
		{"a name stays", head("入札書　第1号.xml", 20), "入札書　第1号.xml"},
		{"gaiji stay", head("山\ue000商店", 20), "山\ue000商店"},
		{"escape sequences are defused", head("a\x1b[31mb\r\n", 20), "a\ufffd[31mb\ufffd\ufffd"},
		{"writing stays left to right", head("exe.\u202etxt\u2066", 20), "exe.\ufffdtxt\ufffd"},
		{"invisible characters are shown", head("a\u200bb\ufeff", 20), "a\ufffdb\ufffd"},
		{"invalid UTF-8 is replaced", head("a\xff", 20), "a\ufffd"},
		{"just fits", head("12345", 5), "12345"},
		{"the beginning is kept", head("123456", 5), "1234…"},
		{"the end of a path is kept", tail("/usr/bin/program", 8), "…program"},
		{"a short path stays", tail("/bin/sh", 8), "/bin/sh"},
	}
	for _, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, tt.got, tt.want)
		}
	}
	for s, want := range map[Source]string{SourcePrompt: "prompt", SourceProgram: "program", 0: "source 0"} {
		if s.String() != want {
			t.Errorf("source = %q, want %q", s, want)
		}
	}
}

// pair returns a link and the other end of its socket.
func pair(t testing.TB) (*socket, *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	var conns [2]*net.UnixConn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "pair")
		conn, err := net.FileConn(f)
		_ = f.Close()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		ok := false
		if conns[i], ok = conn.(*net.UnixConn); !ok {
			t.Fatalf("the pair is of %T", conn)
		}
	}
	if err := passCredentials(conns[0]); err != nil {
		t.Fatal(err)
	}
	return newSocket(conns[0], int32(os.Getpid())), conns[1]
}

func TestControlDataOtherThanDescriptorsBreaksTheProtocol(t *testing.T) {
	ours, theirs := pair(t)
	raw, err := ours.conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	err = raw.Control(func(fd uintptr) {
		if err := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMP, 1); err != nil {
			t.Error(err)
		}
		if err := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSSEC, 1); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	data, err := proto.Marshal(answer("id", 6))
	if err != nil {
		t.Fatal(err)
	}
	before := openFiles(t)
	fd := memfd(t, demoPIN)
	if _, _, err := theirs.WriteMsgUnix(data, unix.UnixRights(fd), nil); err != nil {
		t.Fatal(err)
	}
	_ = unix.Close(fd)
	if _, _, err := ours.Receive(); !errors.Is(err, errProtocol) {
		t.Errorf("Receive() = %v, want errProtocol", err)
	}
	if after := openFiles(t); after != before {
		t.Errorf("descriptors = %d before, %d after", before, after)
	}
	if fds, sender, strange := control(make([]byte, 64)); fds != nil || sender != 0 || !strange {
		t.Errorf("control of rubbish = %v, %d, %v", fds, sender, strange)
	}
}

// To Go an empty packet is the end of the connection; its descriptors must be
// closed all the same. Go cannot send one: it adds a byte.
func TestDescriptorsOfAnEmptyPacketAreClosed(t *testing.T) {
	ours, theirs := pair(t)
	before := openFiles(t)
	fd := memfd(t, demoPIN)
	oob := unix.UnixRights(many(fd, 10)...)
	raw, err := theirs.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var errno unix.Errno
	err = raw.Control(func(s uintptr) {
		header := unix.Msghdr{Control: &oob[0]}
		header.SetControllen(len(oob))
		_, _, errno = unix.Syscall(unix.SYS_SENDMSG, s, uintptr(unsafe.Pointer(&header)), 0)
	})
	if err != nil || errno != 0 {
		t.Fatal(err, errno)
	}
	_ = unix.Close(fd)
	if _, _, err := ours.Receive(); !errors.Is(err, io.EOF) {
		t.Errorf("Receive() = %v, want io.EOF", err)
	}
	if after := openFiles(t); after != before {
		t.Errorf("descriptors = %d before, %d after", before, after)
	}
}

// When we are out of descriptors the kernel gives fewer than were sent: the
// rest must not be taken for the whole.
func TestPacketThatLostDescriptorsBreaksTheProtocol(t *testing.T) {
	ours, theirs := pair(t)
	data, err := proto.Marshal(answer("id", len(demoPIN)))
	if err != nil {
		t.Fatal(err)
	}
	fd := memfd(t, demoPIN)
	if _, _, err := theirs.WriteMsgUnix(data, unix.UnixRights(fd, fd), nil); err != nil {
		t.Fatal(err)
	}
	before := openFiles(t)
	free, err := unix.Dup(fd) // the lowest number that is free
	if err != nil {
		t.Fatal(err)
	}
	_ = unix.Close(free)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	short := unix.Rlimit{Cur: uint64(free) + 1, Max: limit.Max}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &short); err != nil {
		t.Fatal(err)
	}
	_, _, got := ours.Receive()
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(got, errProtocol) {
		t.Errorf("Receive() = %v, want errProtocol", got)
	}
	if after := openFiles(t); after != before {
		t.Errorf("descriptors = %d before, %d after", before, after)
	}
}

func TestSendFailsOnAClosedLink(t *testing.T) {
	ours, _ := pair(t)
	_ = ours.Close()
	if err := ours.Send(cancelled("id")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Send() = %v, want net.ErrClosed", err)
	}
}

// FuzzReceive sends arbitrary datagrams with any number of descriptors:
// nothing panics or leaks, and what is taken keeps the rules of the contract.
func FuzzReceive(f *testing.F) {
	for _, p := range agentPackets() {
		data, err := proto.Marshal(p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, uint8(len(data)%3))
	}
	f.Add([]byte{}, uint8(253))
	f.Add(make([]byte, maxPacket+1), uint8(1))
	rules := validator(f)
	null, err := os.Open(os.DevNull)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = null.Close() })
	f.Fuzz(func(t *testing.T, data []byte, count uint8) {
		if len(data) > 4*maxPacket {
			return // no agent gains by more
		}
		n := min(int(count), maxDescriptors)
		ours, theirs := pair(t)
		before := openFiles(t)
		var oob []byte
		if n > 0 {
			oob = unix.UnixRights(many(int(null.Fd()), n)...)
		}
		if _, _, err := theirs.WriteMsgUnix(data, oob, nil); err != nil {
			t.Fatal(err)
		}
		packet, fds, err := ours.Receive()
		if err != nil && (packet != nil || fds != nil) {
			t.Error("there is something beside the error")
		}
		if err == nil {
			if len(fds) != n {
				t.Errorf("descriptors = %d, want %d", len(fds), n)
			}
			if err := rules.Validate(packet); err != nil {
				t.Errorf("taken against the rules: %v", err)
			}
			// The agent, too, closes all that it does not take.
			a := newAgent(Peer{}, ours, nil, SourceProgram)
			if err := a.handle(packet, fds); err != nil && !errors.Is(err, errProtocol) {
				t.Errorf("handle() = %v, want errProtocol", err)
			}
		}
		if after := openFiles(t); after != before {
			t.Errorf("descriptors = %d before, %d after", before, after)
		}
	})
}
