package prompt

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/inkan-project/inkan/daemon/internal/messagetest"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
	"github.com/inkan-project/inkan/token"
)

// packetPair is a connection of an agent: its end, and the service's.
func packetPair(t testing.TB) (agent, service *net.UnixConn) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]*net.UnixConn
	for i, fd := range pair {
		file := os.NewFile(uintptr(fd), "socket")
		conn, err := net.FileConn(file)
		_ = file.Close() // FileConn has its own
		if err != nil {
			t.Fatal(err)
		}
		var ok bool
		if ends[i], ok = conn.(*net.UnixConn); !ok {
			t.Fatalf("connection of type %T", conn)
		}
	}
	if err := passCredentials(ends[1]); err != nil {
		t.Fatal(err)
	}
	return ends[0], ends[1]
}

func openFDs(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// hostile sends packets as the input says: messages made from the descriptor,
// raw bytes, answers to the prompt that is open, each with descriptors.
func hostile(t *testing.T, conn *net.UnixConn, s *messagetest.Source, prompts <-chan string) {
	t.Helper()
	words := []string{"", "none", "123456"}
	for !s.Empty() {
		kind := s.Byte()
		packet := &inkanpb.PinPacket{}
		var data []byte
		switch kind % 4 {
		case 0:
			data = s.Bytes(int(s.Byte()))
		case 1:
			messagetest.Fill(packet.ProtoReflect(), s, words)
		case 2:
			select {
			case id := <-prompts:
				words = append(words, id)
				packet = answer(id, int(s.Byte()%70))
			case <-time.After(20 * time.Millisecond):
			}
		case 3:
			packet = hello(uint32(s.Byte()%3), s.Byte()&1 == 1)
		}
		if data == nil {
			data, _ = proto.Marshal(packet) // a string that is not UTF-8: an empty packet
		}
		var fds []int
		for range s.Byte() % 4 {
			fd, err := unix.MemfdCreate("fuzz", unix.MFD_CLOEXEC)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = unix.Pwrite(fd, s.Bytes(int(s.Byte()%70)), 0) // of any size
			fds = append(fds, fd)
		}
		_, _, err := conn.WriteMsgUnix(data, unix.UnixRights(fds...), nil)
		closeAll(fds)
		if err != nil {
			return // the service has had enough
		}
	}
}

// FuzzAgent is an agent that sends anything while people are asked: nothing
// panics, nobody waits for ever, and no descriptor and no goroutine is left.
func FuzzAgent(f *testing.F) {
	f.Add([]byte{3, 1, 1, 0, 2, 6, 1, 6, '1', '2', '3', '4', '5', '6'}) // a hello and an answer
	f.Add([]byte{3, 1, 0, 2, 0, 1, 2, 6, 0, 2, 6, 1, 3, 'a', 'b', 'c'})
	f.Add([]byte{0, 3, 0xff, 0xff, 0xff, 3})
	f.Add([]byte{1, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 3, 2, 2, 2})
	f.Fuzz(func(t *testing.T, input []byte) {
		before := openFDs(t)
		agentEnd, serviceEnd := packetPair(t)
		server := New(Config{PINs: &pages{}, PromptGID: new(uint32(promptGID))})
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		var all sync.WaitGroup
		all.Go(func() {
			who := Peer{UID: 1000, GID: promptGID, PID: int32(os.Getpid()), Alive: func() error { return nil }, Close: func() {}}
			server.serveAgent(ctx, who, newSocket(serviceEnd, who.PID))
		})
		prompts := make(chan string, 64)
		all.Go(func() { listen(agentEnd, prompts) })
		asking, asked := context.WithCancel(ctx)
		all.Go(func() { askOn(asking, t, server) })
		hostile(t, agentEnd, messagetest.NewSource(input), prompts)
		asked()
		_ = agentEnd.Close()
		ended := make(chan struct{})
		go func() { all.Wait(); close(ended) }()
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			t.Fatal("somebody waits for ever")
		}
		if len(server.agents) != 0 || len(server.open) != 0 {
			t.Errorf("%d agents and %d users are left", len(server.agents), len(server.open))
		}
		if after := openFDs(t); after != before {
			t.Errorf("%d descriptors are open, %d before", after, before)
		}
	})
}

// listen reads what the service says, and hands on which prompts are open.
func listen(conn *net.UnixConn, prompts chan<- string) {
	buf := make([]byte, 2*maxPacket)
	for {
		n, err := conn.Read(buf)
		if err != nil || n == 0 {
			return
		}
		p := &inkanpb.PinPacket{}
		if proto.Unmarshal(buf[:n], p) != nil || p.GetPrompt() == nil {
			continue
		}
		select {
		case prompts <- p.GetPrompt().GetPromptId():
		default:
		}
	}
}

// askOn asks for PINs until ctx ends; each ends with a PIN or with an error of
// a kind.
func askOn(ctx context.Context, t *testing.T, server *Server) {
	for ctx.Err() == nil {
		got, err := server.Ask(ctx, Request{UID: 1000, Ask: AskPIN, Timeout: 50 * time.Millisecond, Format: token.PINFormat{MinLength: 6, MaxLength: 8}})
		if err == nil {
			got.PIN.Wipe()
			continue
		}
		if e, ok := errors.AsType[*token.Error](err); !ok {
			t.Errorf("Ask: %v, want an error of a kind", err)
		} else if e.Kind == token.KindNoPINAgent {
			select {
			case <-time.After(time.Millisecond):
			case <-ctx.Done():
			}
		}
	}
}
