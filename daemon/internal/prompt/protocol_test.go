package prompt

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
	"github.com/inkan-project/inkan/token"
)

// files are descriptors of many sorts, all of them wrong or right for a PIN.
type files struct {
	right, empty, long, pipe, dir, disk, null, secret int
}

func openSorts(t *testing.T) files {
	t.Helper()
	var f files
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = unix.Close(pipe[0]), unix.Close(pipe[1]) })
	open := func(path string, flags int) int {
		fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Close(fd) })
		return fd
	}
	onDisk := t.TempDir() + "/pin"
	if err := os.WriteFile(onDisk, []byte(demoPIN), 0o600); err != nil {
		t.Fatal(err)
	}
	f = files{
		right: memfd(t, demoPIN), empty: memfd(t, ""), long: memfd(t, strings.Repeat("1", 65)),
		pipe: pipe[0], dir: open("/", unix.O_DIRECTORY), disk: open(onDisk, unix.O_RDONLY),
		null: open("/dev/null", unix.O_RDONLY), secret: -1,
	}
	if fd, err := unix.MemfdSecret(unix.O_CLOEXEC); err == nil {
		f.secret = fd
		t.Cleanup(func() { _ = unix.Close(fd) })
	}
	return f
}

// many repeats a descriptor.
func many(fd, n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = fd
	}
	return all
}

func TestAgentThatBreaksTheProtocolIsDropped(t *testing.T) {
	f := openSorts(t)
	n := len(demoPIN)
	welcome := &inkanpb.PinPacket{Packet: &inkanpb.PinPacket_Welcome{
		Welcome: &inkanpb.AgentWelcome{AgentId: strings.Repeat("a", 32)},
	}}
	marshal := func(p *inkanpb.PinPacket) []byte {
		data, err := proto.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	tests := map[string]func(a *testAgent, id string){
		"answer without a descriptor":        func(a *testAgent, id string) { a.send(answer(id, n)) },
		"answer with two descriptors":        func(a *testAgent, id string) { a.send(answer(id, n), f.right, f.right) },
		"answer with 253 descriptors":        func(a *testAgent, id string) { a.send(answer(id, n), many(f.right, 253)...) },
		"answer with a pipe":                 func(a *testAgent, id string) { a.send(answer(id, n), f.pipe) },
		"answer with a directory":            func(a *testAgent, id string) { a.send(answer(id, n), f.dir) },
		"answer with a file on disk":         func(a *testAgent, id string) { a.send(answer(id, n), f.disk) },
		"answer with a device":               func(a *testAgent, id string) { a.send(answer(id, n), f.null) },
		"answer with a memfd of 65 bytes":    func(a *testAgent, id string) { a.send(answer(id, 64), f.long) },
		"answer that says too short":         func(a *testAgent, id string) { a.send(answer(id, n-1), f.right) },
		"answer that says too long":          func(a *testAgent, id string) { a.send(answer(id, n+1), f.right) },
		"answer that says 65 bytes":          func(a *testAgent, id string) { a.send(answer(id, 65), f.long) },
		"answer that says 4 GiB":             func(a *testAgent, id string) { a.send(answer(id, -1), f.right) },
		"answer without a prompt":            func(a *testAgent, _ string) { a.send(answer("", n), f.right) },
		"answer with a long prompt id":       func(a *testAgent, _ string) { a.send(answer(strings.Repeat("印", 65), n), f.right) },
		"cancel with a descriptor":           func(a *testAgent, id string) { a.send(cancelled(id), f.right) },
		"cancel without a prompt":            func(a *testAgent, _ string) { a.send(cancelled("")) },
		"second hello":                       func(a *testAgent, _ string) { a.send(hello(1, false)) },
		"welcome from an agent":              func(a *testAgent, _ string) { a.send(welcome) },
		"prompt from an agent":               func(a *testAgent, id string) { a.send(promptPacket(id, request())) },
		"packet without contents":            func(a *testAgent, _ string) { a.send(&inkanpb.PinPacket{}, f.right) },
		"bytes that are no packet":           func(a *testAgent, _ string) { a.sendBytes(randomBytes(100), f.right) },
		"packet of 8194 bytes":               func(a *testAgent, id string) { a.sendBytes(padded(marshal(answer(id, n)), maxPacket+2), f.right) },
		"packet of 64 KiB, 253 descriptors":  func(a *testAgent, _ string) { a.sendBytes(make([]byte, 64<<10), many(f.right, 253)...) },
		"packet of one byte, 10 descriptors": func(a *testAgent, _ string) { a.sendBytes([]byte{0}, many(f.right, 10)...) },
		"packets about no open prompt": func(a *testAgent, _ string) {
			for range maxStrays + 1 {
				a.send(answer("nothing", n), f.right)
			}
		},
	}
	if f.secret >= 0 {
		tests["answer with a memfd_secret"] = func(a *testAgent, id string) { a.send(answer(id, 0), f.secret) }
	}
	for name, misbehave := range tests {
		t.Run(name, func(t *testing.T) {
			before := openFiles(t)
			h := newHarness(t, nil)
			agent := h.agent(1000, promptGID, false)
			ask := h.ask(t.Context(), request())
			misbehave(agent, agent.prompted().GetPromptId())
			ask.fails(token.KindPINAgentLost)
			agent.dropped()
			h.ask(t.Context(), request()).fails(token.KindNoPINAgent)
			if got := h.pages.reads.Load(); got != 0 {
				t.Errorf("PINs read = %d, want 0", got)
			}
			h.end()
			_ = agent.conn.Close()
			if after := openFiles(t); after != before {
				t.Errorf("descriptors = %d before, %d after", before, after)
			}
		})
	}
}

// padded makes a packet longer without changing what it says: with field 15,
// which nobody knows, as varints (protobuf encoding: key 15<<3 = 0x78). What
// is left of it when its end is cut off is a packet, too.
func padded(packet []byte, size int) []byte {
	if (size-len(packet))%2 == 1 {
		packet = append(packet, 0x78, 0x80, 0x00)
	}
	for len(packet) < size {
		packet = append(packet, 0x78, 0x00)
	}
	return packet
}

func TestPacketOf8KiBIsTaken(t *testing.T) {
	h := newHarness(t, nil)
	agent := h.agent(1000, promptGID, false)
	ask := h.ask(t.Context(), request())
	data, err := proto.Marshal(answer(agent.prompted().GetPromptId(), len(demoPIN)))
	if err != nil {
		t.Fatal(err)
	}
	data = padded(data, maxPacket)
	if len(data) != maxPacket {
		t.Fatalf("packet has %d bytes, want %d", len(data), maxPacket)
	}
	agent.sendBytes(data, memfd(t, demoPIN))
	ask.gives(demoPIN, SourcePrompt)
}

func TestEmptyPINPassesToBeRefusedWithTheOthers(t *testing.T) {
	h := newHarness(t, nil)
	agent := h.agent(1000, promptGID, false)
	ask := h.ask(t.Context(), request())
	agent.send(answer(agent.prompted().GetPromptId(), 0), openSorts(t).empty)
	ask.gives("", SourcePrompt)
}

func TestFirstPacketMustBeAHelloThatWeKnow(t *testing.T) {
	f := openSorts(t)
	for name, first := range map[string]func(a *testAgent){
		"version 0":                 func(a *testAgent) { a.send(hello(0, false)) },
		"version 2":                 func(a *testAgent) { a.send(hello(2, false)) },
		"version 1001":              func(a *testAgent) { a.send(hello(1001, false)) },
		"hello with a descriptor":   func(a *testAgent) { a.send(hello(1, false), f.right) },
		"cancel":                    func(a *testAgent) { a.send(cancelled("x")) },
		"answer":                    func(a *testAgent) { a.send(answer("x", 6), f.right) },
		"nothing, and then the end": func(a *testAgent) { _ = a.conn.CloseWrite() },
	} {
		t.Run(name, func(t *testing.T) {
			before := openFiles(t)
			h := newHarness(t, nil)
			agent := h.connect(1000, promptGID)
			first(agent)
			agent.dropped()
			h.ask(t.Context(), request()).fails(token.KindNoPINAgent)
			h.end()
			_ = agent.conn.Close()
			if after := openFiles(t); after != before {
				t.Errorf("descriptors = %d before, %d after", before, after)
			}
		})
	}
}
