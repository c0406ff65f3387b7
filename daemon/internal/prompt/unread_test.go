package prompt

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// unreadPair returns a link whose other end reads nothing.
func unreadPair(t *testing.T) *socket {
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
	unixConn, ok := conn.(*net.UnixConn)
	if !ok {
		t.Fatalf("connection of type %T", conn)
	}
	return newSocket(unixConn, int32(os.Getpid()))
}

func TestAnAgentThatReadsNothingIsGivenUp(t *testing.T) {
	s := unreadPair(t)
	ended := make(chan error, 1)
	go func() {
		for {
			if err := s.Send(promptPacket("id", request())); err != nil {
				ended <- err
				return
			}
		}
	}()
	select {
	case err := <-ended:
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Send() = %v, want the end of its time", err)
		}
	case <-time.After(5 * sendTimeout):
		t.Error("Send waits for an agent that reads nothing")
	}
}
