package trusted

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestTheWayToASocketMustBeTrusted(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(t *testing.T, outer, inner string)
		path   string // below outer; "inner" without
		refuse string
	}{
		{"the user's own", func(*testing.T, string, string) {}, "inner", ""},
		{"by a link", func(t *testing.T, outer, inner string) { check(t, os.Symlink(inner, filepath.Join(outer, "link"))) }, "link", ""},
		{"written to by all", func(t *testing.T, _, inner string) { check(t, os.Chmod(inner, 0o777)) }, "inner", "inner can be written to by others"},
		{"written to by the user's own group", func(t *testing.T, _, inner string) { check(t, os.Chmod(inner, 0o770)) }, "inner", ""},
		{"written to by another group", func(t *testing.T, _, inner string) {
			needRoot(t)
			check(t, errors.Join(os.Chown(inner, 0, 65534), os.Chmod(inner, 0o770)))
		}, "inner", "inner can be written to by others"},
		{"made by anybody, kept by sticky", func(t *testing.T, _, inner string) { check(t, os.Chmod(inner, 0o777|os.ModeSticky)) }, "inner", "inner can be written to by others"},
		{"a folder above is written to by all", func(t *testing.T, outer, _ string) { check(t, os.Chmod(outer, 0o777)) }, "inner", "can be written to by others"},
		{"a folder above is shared as /tmp is", func(t *testing.T, outer, _ string) { check(t, os.Chmod(outer, 0o777|os.ModeSticky)) }, "inner", ""},
		{"another user's", func(t *testing.T, _, inner string) { needRoot(t); check(t, os.Chown(inner, 65534, 0)) }, "inner", "inner belongs to user 65534"},
		{"in another user's", func(t *testing.T, outer, _ string) { needRoot(t); check(t, os.Chown(outer, 65534, 0)) }, "inner", "belongs to user 65534"},
		{"not there", func(*testing.T, string, string) {}, "none", "no such file"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			outer, err := os.MkdirTemp("", "inkan")
			check(t, err)
			t.Cleanup(func() { _ = os.RemoveAll(outer) })
			inner := filepath.Join(outer, "inner")
			check(t, os.Mkdir(inner, 0o700))
			l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: filepath.Join(inner, "pin.sock"), Net: "unixpacket"})
			check(t, err)
			t.Cleanup(func() { _ = l.Close() })
			tc.change(t, outer, inner)
			conn, err := Dial(t.Context(), "unixpacket", filepath.Join(outer, tc.path, "pin.sock"))
			if conn != nil {
				_ = conn.Close()
			}
			if tc.refuse == "" && err != nil || tc.refuse != "" && (err == nil || !strings.Contains(err.Error(), tc.refuse)) {
				t.Errorf("got %v, want %q", err, tc.refuse)
			}
		})
	}
}

func TestWhoServesASocketMustBeTrusted(t *testing.T) {
	needRoot(t)
	dir, err := os.MkdirTemp("", "inkan")
	check(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	// The kernel keeps who called listen(2): this thread, as another user.
	path := filepath.Join(dir, "pin.sock")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	check(t, err)
	t.Cleanup(func() { _ = unix.Close(fd) })
	check(t, unix.Bind(fd, &unix.SockaddrUnix{Name: path}))
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	as := func(uid int) {
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), uintptr(uid), ^uintptr(0)); errno != 0 {
			t.Fatal(errno)
		}
	}
	as(65534)
	err = unix.Listen(fd, 1)
	as(0)
	check(t, err)
	conn, err := Dial(t.Context(), "unixpacket", path)
	if r, ok := errors.AsType[*Refusal](err); conn != nil || !ok || r.In("en") != "a program of user 65534 listens" || r.In("ja") == r.In("en") {
		t.Errorf("got %v, %v; want that a program of user 65534 listens", conn, err)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: being another user")
	}
}
