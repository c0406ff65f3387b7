package promptcmd_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// What the tests' trusted prompt is: somebody's process, of a group that
// nobody is in.
const (
	someUser    = 65534
	someGroup   = 65534
	promptGroup = 64321
)

// binary is the program itself, as it is released.
var binary string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "inkan")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		if err := os.Chmod(dir, 0o755); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		binary = filepath.Join(dir, "inkan-prompt")
		build := exec.Command("go", "build", "-o", binary, "github.com/inkan-project/inkan/client/cmd/inkan-prompt")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "building inkan-prompt: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// folder makes a folder that everybody can look into, and only its owner write
// to.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "inkan")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// listen makes a pin.sock.
func listen(t *testing.T, dir string) *net.UnixListener {
	t.Helper()
	path := filepath.Join(dir, "pin.sock")
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	return l
}

// welcome accepts an agent, gives it an id and returns who it is.
func welcome(t *testing.T, l *net.UnixListener) (*net.UnixConn, *unix.Ucred) {
	t.Helper()
	_ = l.SetDeadline(time.Now().Add(20 * time.Second)) // no test hangs
	conn, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var who *unix.Ucred
	var optErr error
	if err := raw.Control(func(fd uintptr) { who, optErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil || optErr != nil {
		t.Fatal(err, optErr)
	}
	b := make([]byte, 8<<10)
	n, err := conn.Read(b)
	p := &inkanpb.PinPacket{}
	if err != nil || proto.Unmarshal(b[:n], p) != nil || !p.GetHello().GetOwnCallsOnly() {
		t.Fatalf("got %v, %v; want a hello for own calls only", p, err)
	}
	answer, err := proto.Marshal(&inkanpb.PinPacket{Packet: &inkanpb.PinPacket_Welcome{Welcome: &inkanpb.AgentWelcome{AgentId: "agent-0123456789abcdef"}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(answer); err != nil {
		t.Fatal(err)
	}
	return conn, who
}

// prompt is a running inkan-prompt.
type prompt struct {
	t      *testing.T
	cmd    *exec.Cmd
	ready  *os.File
	life   *os.File
	stderr bytes.Buffer
}

// start runs inkan-prompt; change edits the command.
func start(t *testing.T, path, socket string, change func(*exec.Cmd)) *prompt {
	t.Helper()
	ready, readyTheirs, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	lifeTheirs, life, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p := &prompt{t: t, ready: ready, life: life}
	p.cmd = exec.Command(path, "--socket", socket, "--ready-fd", "3", "--life-fd", "4")
	p.cmd.Env = []string{"LC_ALL=C"}
	p.cmd.ExtraFiles = []*os.File{readyTheirs, lifeTheirs}
	p.cmd.Stderr = &p.stderr
	if change != nil {
		change(p.cmd)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = readyTheirs.Close(), lifeTheirs.Close()
	t.Cleanup(func() {
		_, _ = ready.Close(), life.Close()
		if p.cmd.ProcessState == nil {
			_ = p.cmd.Process.Kill()
			_ = p.cmd.Wait()
		}
	})
	return p
}

// asUser makes a command another user's.
func asUser(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: someUser, Gid: someGroup}}
}

// id waits for the line of --ready-fd; empty at the end.
func (p *prompt) id() string {
	p.t.Helper()
	_ = p.ready.SetReadDeadline(time.Now().Add(20 * time.Second))
	line, err := bufio.NewReader(p.ready).ReadString('\n')
	if err != nil && err != io.EOF {
		p.t.Fatal(err)
	}
	return strings.TrimSuffix(line, "\n")
}

// ends waits for the end.
func (p *prompt) ends(code int, stderr string) {
	p.t.Helper()
	late := time.AfterFunc(20*time.Second, func() { _ = p.cmd.Process.Kill() })
	_ = p.cmd.Wait()
	late.Stop()
	if got := p.cmd.ProcessState.ExitCode(); got != code || !strings.Contains(p.stderr.String(), stderr) || stderr == "" && p.stderr.Len() > 0 {
		p.t.Errorf("ended with %d and %q, want %d and %q", got, p.stderr.String(), code, stderr)
	}
}

// proc reads a file of the process's folder in /proc.
func (p *prompt) proc(name string) string {
	p.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p.cmd.Process.Pid, name))
	if err != nil {
		p.t.Fatal(err)
	}
	return string(b)
}
