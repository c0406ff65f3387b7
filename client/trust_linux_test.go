package client_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/inkan-project/inkan/client"
	"github.com/inkan-project/inkan/client/internal/clientfake"
)

// listenAs listens at a path as another user: the kernel keeps who called
// listen(2), which is this thread.
func listenAs(t *testing.T, network, path string, uid int) *net.UnixListener {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: being another user")
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	as := func(uid int) {
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), uintptr(uid), ^uintptr(0)); errno != 0 {
			t.Fatal(errno)
		}
	}
	kind := map[string]int{"unix": unix.SOCK_STREAM, "unixpacket": unix.SOCK_SEQPACKET}[network]
	fd, err := unix.Socket(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), path)
	defer file.Close() // FileListener has its own
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	as(uid)
	err = unix.Listen(fd, 8)
	as(0)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.FileListener(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	unixListener, ok := l.(*net.UnixListener)
	if !ok {
		t.Fatalf("listening: %T", l)
	}
	return unixListener
}

// hears counts the bytes that come on each connection, until all have ended.
func hears(t *testing.T, l *net.UnixListener) (total func() int) {
	t.Helper()
	heard := make(chan int, 1)
	go func() {
		all := 0
		for {
			conn, err := l.Accept()
			if err != nil {
				heard <- all
				return
			}
			b := make([]byte, 8<<10)
			for n, err := conn.Read(b); n > 0 && err == nil; n, err = conn.Read(b) {
				all += n
			}
			_ = conn.Close()
		}
	}()
	return func() int { _ = l.Close(); return <-heard }
}

// TestNothingIsSentToAnotherUsersSocket is T18: somebody else's program
// listens where inkand should.
func TestNothingIsSentToAnotherUsersSocket(t *testing.T) {
	dir := shortDir(t)
	total := hears(t, listenAs(t, "unix", filepath.Join(dir, "inkan.sock"), 65534))
	_, err := client.Dial(t.Context(), client.Options{Socket: filepath.Join(dir, "inkan.sock"), PIN: digits(6), Language: "en"})
	if !errors.Is(err, client.ErrSocketNotTrusted) || !strings.Contains(err.Error(), "a program of user 65534 listens") {
		t.Errorf("got %v, want ErrSocketNotTrusted that names user 65534", err)
	}
	if n := total(); n != 0 {
		t.Errorf("%d bytes were sent to it", n)
	}
}

func TestNoPINGoesToAnotherUsersSocket(t *testing.T) {
	fake := startFake(t)
	fake.PINSocket = filepath.Join(shortDir(t), "pin.sock")
	total := hears(t, listenAs(t, "unixpacket", fake.PINSocket, 65534))
	_, err := dial(t, fake, client.Options{PIN: digits(6)}).VerifyPIN(t.Context(), clientfake.CardID)
	if !errors.Is(err, client.ErrNoPINAgent) {
		t.Errorf("got %v, want ErrNoPINAgent", err)
	}
	if n := total(); n != 0 {
		t.Errorf("%d bytes were sent to it", n)
	}
}

func TestASocketThatOthersCanReplaceIsNotUsed(t *testing.T) {
	fake := startFake(t)
	if err := os.Chmod(filepath.Dir(fake.Socket), 0o777); err != nil {
		t.Fatal(err)
	}
	_, err := client.Dial(t.Context(), client.Options{Socket: fake.Socket, Language: "ja"})
	if e, ok := errors.AsType[*client.Error](err); !ok || !errors.Is(err, client.ErrSocketNotTrusted) || !strings.Contains(e.Message, "に他のユーザが書き込めます") {
		t.Errorf("got %v, want ErrSocketNotTrusted in Japanese", err)
	}
}
