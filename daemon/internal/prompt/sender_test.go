package prompt

import (
	"bytes"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
	"github.com/inkan-project/inkan/token"
)

// sendByChild has a process that got the connection from this one send.
func (a *testAgent) sendByChild(p *inkanpb.PinPacket) {
	a.t.Helper()
	data, err := proto.Marshal(p)
	if err != nil {
		a.t.Fatal(err)
	}
	file, err := a.conn.File()
	if err != nil {
		a.t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	child := exec.Command("/bin/sh", "-c", "cat >&3")
	child.Stdin, child.ExtraFiles = bytes.NewReader(data), []*os.File{file}
	if out, err := child.CombinedOutput(); err != nil {
		a.t.Fatalf("%v: %s", err, out)
	}
}

// A program connects, becomes a trusted one by execve(2), and a child of it
// keeps the connection and answers.
func TestAnotherProcessDoesNotAnswerForTheOneThatConnected(t *testing.T) {
	h := newHarness(t, nil)
	t.Run("hello", func(t *testing.T) {
		agent := h.connect(1000, promptGID)
		agent.t = t
		agent.sendByChild(hello(1, false))
		agent.dropped()
		h.ask(t.Context(), request()).fails(token.KindNoPINAgent)
	})
	t.Run("answer to a prompt", func(t *testing.T) {
		agent := h.agent(1000, promptGID, false)
		agent.t = t
		ask := h.ask(t.Context(), request())
		agent.sendByChild(cancelled(agent.prompted().GetPromptId()))
		e := ask.failure(token.KindPINAgentLost)
		if !errors.Is(e, errProtocol) {
			t.Errorf("Ask() = %v, want errProtocol behind it", e)
		}
		agent.dropped()
	})
}

func TestPacketsSentBeforeTheConnectionIsAcceptedSayWhoSentThem(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pin.sock")
	ln, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	if err := passCredentials(ln); err != nil {
		t.Fatal(err)
	}
	theirs, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = theirs.Close() }()
	data, err := proto.Marshal(hello(1, false))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := theirs.WriteMsgUnix(data, nil, nil); err != nil {
		t.Fatal(err)
	}
	ours, err := ln.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ours.Close() }()
	if p, _, err := newSocket(ours, int32(os.Getpid())).Receive(); err != nil || p.GetHello() == nil {
		t.Errorf("Receive() = %v, %v, want the hello", p, err)
	}
}

func TestAPacketOfNobodyIsNotTaken(t *testing.T) {
	ours, theirs := pair(t)
	without(t, ours.conn)
	data, err := proto.Marshal(cancelled("prompt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range []int32{0, int32(os.Getpid())} { // 0: a peer that is not visible from here
		ours.pid = pid
		if _, err := theirs.Write(data); err != nil {
			t.Fatal(err)
		}
		if _, _, err := ours.Receive(); !errors.Is(err, errProtocol) {
			t.Errorf("peer %d: Receive() = %v, want errProtocol", pid, err)
		}
	}
	// What was sent before the option was set says nothing: number 0.
	if _, err := theirs.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := passCredentials(ours.conn); err != nil {
		t.Fatal(err)
	}
	if _, _, err := ours.Receive(); !errors.Is(err, errProtocol) {
		t.Errorf("sent before the option: Receive() = %v, want errProtocol", err)
	}
	// A hello is taken: an agent may have been there before us.
	if data, err = proto.Marshal(hello(1, false)); err != nil {
		t.Fatal(err)
	}
	without(t, ours.conn)
	if _, err := theirs.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := passCredentials(ours.conn); err != nil {
		t.Fatal(err)
	}
	if packet, _, err := ours.Receive(); err != nil || packet.GetHello() == nil {
		t.Errorf("a hello sent before the option: %v, %v", packet, err)
	}
}

// without has the kernel not say who sends.
func without(t *testing.T, conn *net.UnixConn) {
	t.Helper()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) {
		if err := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 0); err != nil {
			t.Error(err)
		}
	}); err != nil {
		t.Fatal(err)
	}
}
