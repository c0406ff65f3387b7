package house

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/inkan-project/inkan/daemon/faults/stepper"
)

// patience is how long a process may take for what it does at once.
const patience = 30 * time.Second

// Process is one run of inkand.
type Process struct {
	// Ready is how long it took to answer calls; 0 = it ended before. Who
	// launched it waits with Await first.
	Ready time.Duration

	cmd    *exec.Cmd
	began  time.Time
	ready  *os.File      // what --ready-fd says
	ended  chan struct{} // closed when it has ended, and status says how
	status syscall.WaitStatus
	log    string
	from   int64 // where its part of the log begins
}

// Start starts inkand with the house's card and waits until it answers or has
// ended. The variables are added to an environment that names no other inkand
// and no failpoint.
func (h *House) Start(ctx context.Context, binary string, env ...string) (*Process, error) {
	p, err := h.Launch(ctx, binary, env...)
	if err != nil {
		return nil, err
	}
	err = p.Await(ctx)
	return p, err
}

// Launch is Start without waiting.
func (h *House) Launch(ctx context.Context, binary string, env ...string) (*Process, error) {
	return h.launch(h.command(ctx, binary, env...), func(cmd *exec.Cmd) (func() syscall.WaitStatus, error) {
		wait := func() (status syscall.WaitStatus) {
			_ = cmd.Wait() // ProcessState has it
			if s, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok {
				status = s
			}
			return status
		}
		return wait, cmd.Start()
	})
}

// Step is Launch with a stop at each call that writes or syncs, at which decide
// returns true to kill inkand.
func (h *House) Step(ctx context.Context, binary string, decide func(stepper.Call) bool) (*Process, error) {
	return h.launch(h.command(ctx, binary), func(cmd *exec.Cmd) (func() syscall.WaitStatus, error) {
		stepped, err := stepper.Start(cmd, decide)
		wait := func() syscall.WaitStatus {
			status, _ := stepped.Wait() // what could not be traced was killed
			return status
		}
		return wait, err
	})
}

// launch starts a command; start returns how it is waited for.
func (h *House) launch(cmd *exec.Cmd, start func(*exec.Cmd) (func() syscall.WaitStatus, error)) (*Process, error) {
	log, err := os.OpenFile(h.logFile(), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close() // the process has its own
	from, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p := &Process{cmd: cmd, ready: r, ended: make(chan struct{}), log: h.logFile(), from: from, began: time.Now()}
	p.cmd.Stderr, p.cmd.ExtraFiles = log, []*os.File{w}
	wait, err := start(cmd)
	_ = w.Close() // so that its end is seen here
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting inkand: %w", err), r.Close())
	}
	go func() {
		defer close(p.ended)
		p.status = wait()
	}()
	return p, nil
}

// Await waits until it answers or has ended.
func (p *Process) Await(ctx context.Context) error {
	defer p.ready.Close()
	if awaitReady(p.ready) {
		p.Ready = time.Since(p.began)
		return ctx.Err()
	}
	return p.Wait(ctx, patience)
}

// command is what Launch runs.
func (h *House) command(ctx context.Context, binary string, env ...string) *exec.Cmd {
	args := []string{
		"serve", "--virtual", "--ready-fd", "3",
		"--state", h.State(), "--socket", h.Socket(), "--pin-socket", filepath.Join(h.sockets, "pin.sock"),
	}
	if _, err := os.Stat(h.config()); err == nil {
		args = append(args, "--config", h.config())
	}
	cmd := exec.CommandContext(ctx, binary, args...) //nolint:gosec // built by the run itself
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, "INKAN_") }), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // nothing is left behind
	return cmd
}

// awaitReady reads what --ready-fd says.
func awaitReady(r *os.File) bool {
	_ = r.SetReadDeadline(time.Now().Add(patience))
	line, err := bufio.NewReader(r).ReadString('\n')
	return err == nil && line == "READY=1\n"
}

func (h *House) logFile() string { return filepath.Join(h.Dir, "inkand.log") }

// Wait waits until it has ended.
func (p *Process) Wait(ctx context.Context, most time.Duration) error {
	select {
	case <-p.ended:
		return nil
	case <-ctx.Done():
		p.Kill()
		return ctx.Err()
	case <-time.After(most):
		return fmt.Errorf("inkand did not end within %v", most)
	}
}

// Kill kills it as kill -9 does and waits.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.ended
	_ = p.ready.Close() // may be closed
}

// Stop stops it in order and returns its exit code, -1 for one that did not
// stop and was killed.
func (p *Process) Stop(ctx context.Context) int {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	if err := p.Wait(ctx, patience); err != nil {
		p.Kill()
		return -1
	}
	return p.ExitCode()
}

// Killed reports whether it has ended by SIGKILL.
func (p *Process) Killed() bool {
	select {
	case <-p.ended:
	default:
		return false
	}
	return p.status.Signaled() && p.status.Signal() == syscall.SIGKILL
}

// ExitCode is that of a process that has ended, -1 for one that was killed.
func (p *Process) ExitCode() int { return p.status.ExitStatus() }

// Said returns the end of what it wrote.
func (p *Process) Said() string {
	all, err := os.ReadFile(p.log)
	if err != nil || int64(len(all)) < p.from {
		return errors.Join(errors.New("its log cannot be read"), err).Error()
	}
	const most = 2000
	own := all[p.from:]
	return string(own[max(0, len(own)-most):])
}
