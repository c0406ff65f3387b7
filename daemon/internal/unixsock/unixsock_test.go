package unixsock

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/inkan-project/inkan/token"
)

func listenOrFail(t *testing.T, network, path string, mode os.FileMode) *Listener {
	t.Helper()
	ln, err := Listen(network, path, mode)
	if err != nil {
		t.Fatalf("Listen(%s, %s) = %v", network, path, err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln
}

func wantKind(t *testing.T, err error, want token.Kind) {
	t.Helper()
	if got := token.KindOf(err); got != want {
		t.Fatalf("error kind = %q (%v), want %q", got, err, want)
	}
}

// makeStale leaves a socket file behind that nobody listens on.
func makeStale(t *testing.T, network, path string) {
	t.Helper()
	ln, err := net.ListenUnix(network, &net.UnixAddr{Name: path, Net: network})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestSocketHasItsPermissionsAndAnswersAtItsPath(t *testing.T) {
	for _, network := range []string{"unix", "unixpacket"} {
		for _, mode := range []os.FileMode{0o600, 0o660, 0o666} {
			path := filepath.Join(t.TempDir(), "s.sock")
			ln := listenOrFail(t, network, path, mode)
			info, err := os.Lstat(path)
			if err != nil {
				t.Fatal(err)
			}
			if info.Mode() != mode|fs.ModeSocket {
				t.Errorf("%s: mode = %v, want %v", network, info.Mode(), mode|fs.ModeSocket)
			}
			conn, err := net.Dial(network, path)
			if err != nil {
				t.Fatalf("%s: connecting: %v", network, err)
			}
			_ = conn.Close()
			if got := ln.Addr().String(); got != path {
				t.Errorf("%s: Addr() = %s, want %s", network, got, path)
			}
		}
	}
}

func TestNothingIsLeftBesideTheSocketAndNothingAfterClose(t *testing.T) {
	dir := t.TempDir()
	ln := listenOrFail(t, "unix", filepath.Join(dir, "s.sock"), 0o600)
	if got := names(t, dir); got != "s.sock" {
		t.Errorf("files while listening = %q, want only s.sock", got)
	}
	if err := ln.Close(); err != nil {
		t.Errorf("Close() = %v", err)
	}
	if got := names(t, dir); got != "" {
		t.Errorf("files after Close = %q, want none", got)
	}
	if err := ln.Close(); err != nil {
		t.Errorf("second Close() = %v", err)
	}
	if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept() after Close = %v, want net.ErrClosed", err)
	}
}

func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return strings.Join(all, " ")
}

func TestLiveSocketIsNeverTouched(t *testing.T) {
	types := []string{"unix", "unixpacket"}
	for _, first := range types {
		for _, second := range types {
			dir := t.TempDir()
			path := filepath.Join(dir, "s.sock")
			listenOrFail(t, first, path, 0o600)
			before, err := os.Lstat(path)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Listen(second, path, 0o600)
			wantKind(t, err, token.KindSocketInUse)
			after, err := os.Lstat(path)
			if err != nil || !os.SameFile(before, after) {
				t.Errorf("%s then %s: socket was replaced (%v)", first, second, err)
			}
			if got := names(t, dir); got != "s.sock" {
				t.Errorf("files = %q, want only s.sock", got)
			}
		}
	}
}

func TestSocketWithAFullBacklogIsLive(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.sock")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: path}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second connect finds the backlog full
		_, err := Listen("unix", path, 0o600)
		wantKind(t, err, token.KindSocketInUse)
		conn, err := net.Dial("unix", path)
		if err == nil {
			t.Cleanup(func() { _ = conn.Close() })
		}
	}
}

func TestStaleSocketIsReplaced(t *testing.T) {
	for _, network := range []string{"unix", "unixpacket"} {
		path := filepath.Join(t.TempDir(), "s.sock")
		makeStale(t, network, path)
		listenOrFail(t, network, path, 0o600)
		conn, err := net.Dial(network, path)
		if err != nil {
			t.Fatalf("%s: connecting: %v", network, err)
		}
		_ = conn.Close()
	}
}

func TestWhatIsNotASocketIsNeverTouched(t *testing.T) {
	others := map[string]func(path string) error{
		"regular file":       func(p string) error { return os.WriteFile(p, []byte("keep"), 0o600) },
		"directory":          func(p string) error { return os.Mkdir(p, 0o700) },
		"named pipe":         func(p string) error { return syscall.Mkfifo(p, 0o600) },
		"symbolic link":      func(p string) error { return os.Symlink("/nonexistent", p) },
		"link to the socket": func(p string) error { return os.Symlink("stale.sock", p) },
	}
	for name, put := range others {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			makeStale(t, "unix", filepath.Join(dir, "stale.sock"))
			path := filepath.Join(dir, "s.sock")
			if err := put(path); err != nil {
				t.Fatal(err)
			}
			before, _ := os.Lstat(path)
			_, err := Listen("unix", path, 0o600)
			wantKind(t, err, token.KindSocketNotUsable)
			after, err := os.Lstat(path)
			if err != nil || !os.SameFile(before, after) || before.ModTime() != after.ModTime() {
				t.Errorf("%s was touched (%v)", name, err)
			}
		})
	}
}

func TestPathLengthIsLimited(t *testing.T) {
	dir := t.TempDir()
	fits := filepath.Join(dir, strings.Repeat("x", maxPath-len(dir)-1))
	listenOrFail(t, "unix", fits, 0o600)
	if conn, err := net.Dial("unix", fits); err != nil {
		t.Errorf("connecting to the longest path: %v", err)
	} else {
		_ = conn.Close()
	}
	_, err := Listen("unix", fits+"x", 0o600)
	wantKind(t, err, token.KindSocketNotUsable)
	if !strings.Contains(err.Error(), "108 bytes, at most 107") {
		t.Errorf("error = %v, want the two lengths", err)
	}
}

func TestDirectoryMustExistAndBelongToUs(t *testing.T) {
	at := func(mode os.FileMode) string {
		dir := filepath.Join(t.TempDir(), "d")
		if err := errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, mode)); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	owned := func(mode os.FileMode, uid, gid int) string {
		dir := at(mode)
		if err := os.Chown(dir, uid, gid); err != nil {
			return ""
		}
		return dir
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	other := os.Getegid() + 1
	tests := []struct {
		name, dir string
		want      token.Kind
	}{
		{"private", at(0o700), ""},
		{"readable by all", at(0o755), ""},
		{"writable by our own group", at(0o775), ""},
		{"writable by all with sticky bit", at(0o777 | os.ModeSticky), ""},
		{"writable by all", at(0o777), token.KindSocketNotUsable},
		{"missing", filepath.Join(t.TempDir(), "none"), token.KindSocketNotUsable},
		{"a file", file, token.KindSocketNotUsable},
		{"writable by another group", owned(0o770, os.Geteuid(), other), token.KindSocketNotUsable},
		{"of another user", owned(0o700, os.Geteuid()+1, -1), token.KindSocketNotUsable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.dir == "" {
				t.Skip("needs root: changing an owner")
			}
			ln, err := Listen("unix", filepath.Join(tt.dir, "s"), 0o600)
			wantKind(t, err, tt.want)
			if err == nil {
				_ = ln.Close()
			}
		})
	}
	if _, err := Listen("tcp", filepath.Join(t.TempDir(), "s"), 0o600); err == nil {
		t.Error(`Listen("tcp") = nil error, want one`)
	}
}

func TestCloseLeavesTheFileOfASuccessor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.sock")
	ln := listenOrFail(t, "unix", path, 0o600)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	listenOrFail(t, "unix", path, 0o600)
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatalf("the successor's socket is gone: %v", err)
	}
	_ = conn.Close()
}

func TestPathThatAnotherDaemonIsTakingIsInUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.sock")
	unlock, err := lock(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Listen("unix", path, 0o600)
	wantKind(t, err, token.KindSocketInUse)
	unlock()
	listenOrFail(t, "unix", path, 0o600)
}

// Many daemons find the same stale socket at the same time: one wins, and the
// winner's socket stays in place.
func TestOfManyDaemonsExactlyOneGetsThePath(t *testing.T) {
	for range 20 {
		path := filepath.Join(t.TempDir(), "s.sock")
		makeStale(t, "unix", path)
		var wg sync.WaitGroup
		lns := make(chan *Listener, 8)
		for range cap(lns) {
			wg.Go(func() {
				ln, err := Listen("unix", path, 0o600)
				if err == nil {
					lns <- ln
				} else if token.KindOf(err) != token.KindSocketInUse {
					t.Errorf("loser's error = %v, want SOCKET_IN_USE", err)
				}
			})
		}
		wg.Wait()
		close(lns)
		if len(lns) != 1 {
			t.Fatalf("%d daemons listen, want 1", len(lns))
		}
		ln := <-lns
		now, err := os.Lstat(path)
		if err != nil || !os.SameFile(ln.made, now) {
			t.Fatalf("the winner's socket is not at its path: %v", err)
		}
		_ = ln.Close()
	}
}
