package pcsctest

import (
	"context"
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"
)

// Command prepares a program that uses this pcscd, such as opensc-tool.
func (p *PCSCD) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...) //nolint:gosec // running what the test names is what this is for
	cmd.Env = append(os.Environ(), SocketVariable+"="+p.Socket)
	return cmd
}

// StartInside starts a program in the network of pcscd, where the readers
// listen at [Reader.Address]: a card in a process of its own. It is killed at
// the end of the test, or by stop, which waits for it. Its output goes to out.
func (p *PCSCD) StartInside(out io.Writer, name string, args ...string) (stop func()) {
	p.t.Helper()
	if p.running == nil {
		p.t.Fatal("pcscd is down: it has no network")
	}
	enter := []string{"--target", strconv.Itoa(p.running.pid), "--net"}
	if os.Geteuid() != 0 {
		enter = append(enter, "--user", "--preserve-credentials")
	}
	cmd := exec.Command("nsenter", append(append(enter, "--", name), args...)...) //nolint:gosec // running what the test names is what this is for
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	started, err := startTied(cmd)
	if err != nil {
		p.t.Fatal(err)
	}
	stop = func() {
		started.kill()
		<-started.exited
	}
	p.t.Cleanup(stop)
	return stop
}

// Address is where the reader listens, in the network of pcscd.
func (r *Reader) Address() string { return "127.0.0.1:" + strconv.Itoa(r.port) }
