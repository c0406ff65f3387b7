package pcsc_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/inkan-project/inkan/pcsc"
	"github.com/inkan-project/inkan/pcsc/pcsctest"
)

// asNobody tells the test binary to look for readers as a user without rights:
// libpcsclite reads the name of its socket once per process.
const asNobody = "INKAN_TEST_PCSC_NOBODY"

func TestMain(m *testing.M) {
	if os.Getenv(asNobody) != "" {
		os.Exit(lookAsNobody())
	}
	os.Exit(m.Run())
}

func lookAsNobody() int {
	const nobody = 65534
	if err := syscall.Setuid(nobody); err != nil {
		fmt.Println(err)
		return 1
	}
	s := pcsc.NewService(pcsc.Config{})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := s.Wait(ctx, nil); err != nil {
		fmt.Println(err)
		return 1
	}
	_, err := s.Health()
	socket, ok := errors.AsType[*fs.PathError](err)
	if !ok {
		socket = &fs.PathError{}
	}
	fmt.Printf("denied %t, absent %t, socket %q\n", errors.Is(err, pcsc.ErrDenied), errors.Is(err, pcsc.ErrNoService), socket.Path)
	return 0
}

// healthForNobody returns what Health says to a user without rights.
func healthForNobody(t *testing.T, socket string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), asNobody+"=1", pcsctest.SocketVariable+"="+socket)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("looking as nobody: %v: %s", err, out)
	}
	return strings.TrimSpace(string(out))
}

func TestASocketThatMayNotBeOpenedIsNotAnAbsentService(t *testing.T) {
	dir, err := os.MkdirTemp("", "inkan-denied-") // not t.TempDir, which is closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "pcscd.comm")
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	denied := fmt.Sprintf("denied true, absent false, socket %q", path)
	for _, tt := range []struct {
		name      string
		dir, sock fs.FileMode
		close     bool
		want      string
	}{
		{"socket of others", 0o755, 0o600, false, denied},
		{"folder of others", 0o700, 0o666, false, denied},
		{"nobody listens", 0o755, 0o666, true, `denied false, absent true, socket ""`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := errors.Join(os.Chmod(dir, tt.dir), os.Chmod(path, tt.sock)); err != nil {
				t.Fatal(err)
			}
			if tt.close {
				listener.SetUnlinkOnClose(false)
				_ = listener.Close()
			}
			if got := healthForNobody(t, path); got != tt.want {
				t.Errorf("Health says %s, want %s", got, tt.want)
			}
		})
	}
}
