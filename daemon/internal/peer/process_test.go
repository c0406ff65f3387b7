package peer

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// The test binary plays the processes that call: these variables say which.
const (
	roleVariable = "INKAN_TEST_PEER_ROLE"
	pathVariable = "INKAN_TEST_PEER_SOCKET"
)

func TestMain(m *testing.M) {
	role, path := os.Getenv(roleVariable), os.Getenv(pathVariable)
	if role == "" {
		os.Exit(m.Run())
	}
	if err := play(role, path); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// play does what a role does. A byte on stdin lets it go on; the end of
// stdin ends the process.
func play(role, path string) error {
	if role == "hold" { // keeps descriptor 3, the connection it was given
		fmt.Println("holding")
		_, err := io.Copy(io.Discard, os.Stdin)
		return err
	}
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return err
	}
	fmt.Println("connected")
	// One byte: what follows belongs to the program that comes next.
	n, _ := os.Stdin.Read(make([]byte, 1))
	switch {
	case n == 0 || role == "connect":
		return nil
	case role == "exec":
		return execWith(conn)
	case role == "pass":
		return passOn(conn)
	}
	return fmt.Errorf("role %q is not known", role)
}

// execWith becomes /bin/cat with the connection open.
func execWith(conn *net.UnixConn) error {
	f, err := conn.File()
	if err != nil {
		return err
	}
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETFD, 0); err != nil {
		return err
	}
	return syscall.Exec("/bin/cat", []string{"cat"}, nil)
}

// passOn gives the connection to a new process and ends.
func passOn(conn *net.UnixConn) error {
	f, err := conn.File()
	if err != nil {
		return err
	}
	heir := exec.Command("/proc/self/exe")
	heir.Env = []string{roleVariable + "=hold"}
	heir.Stdin, heir.Stdout, heir.Stderr = os.Stdin, os.Stdout, os.Stderr
	heir.ExtraFiles = []*os.File{f}
	return heir.Start()
}

// process is a child that connected.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	conn *net.UnixConn // our end
}

// start runs a child in a role and accepts its connection. change, if not nil,
// prepares the command.
func start(t *testing.T, role string, change func(*exec.Cmd)) *process {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	p := &process{t: t, cmd: exec.Command("/proc/self/exe")}
	p.cmd.Env = []string{
		roleVariable + "=" + role, pathVariable + "=" + path,
		"GORACE=atexit_sleep_ms=0", // else each child of a -race run takes a second to end
	}
	p.cmd.Stderr = os.Stderr
	p.in, err = p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.out = bufio.NewReader(out)
	if change != nil {
		change(p.cmd)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.reap)
	p.expect("connected")
	if p.conn, err = ln.AcceptUnix(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.conn.Close() })
	return p
}

// expect waits for one line of the child's output.
func (p *process) expect(want string) {
	p.t.Helper()
	if line, err := p.out.ReadString('\n'); line != want+"\n" {
		p.t.Fatalf("child says %q (%v), want %q", line, err, want)
	}
}

// step lets the child go on.
func (p *process) step() {
	p.t.Helper()
	if _, err := io.WriteString(p.in, "\n"); err != nil {
		p.t.Fatal(err)
	}
}

// die ends the child and leaves it a zombie.
func (p *process) die() {
	p.t.Helper()
	_ = p.in.Close()
	var info unix.Siginfo
	err := unix.Waitid(unix.P_PID, p.cmd.Process.Pid, &info, unix.WEXITED|unix.WNOWAIT, nil)
	if err != nil {
		p.t.Fatal(err)
	}
}

// reap ends the child and takes its exit status.
func (p *process) reap() {
	_ = p.in.Close()
	_ = p.cmd.Wait()
}
