package house

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// patience is how long a process may take for what it does at once.
const patience = 30 * time.Second

// Process is one run of inkand.
type Process struct {
	// Ready is how long it took to answer calls; 0 = it ended before.
	Ready time.Duration

	cmd   *exec.Cmd
	ended chan struct{} // closed when it has ended
	log   string
	from  int64 // where its part of the log begins
}

// Start starts inkand with the house's card and waits until it answers or has
// ended. The variables are added to an environment that names no other inkand
// and no failpoint.
func (h *House) Start(ctx context.Context, binary string, env ...string) (*Process, error) {
	cmd := h.Command(ctx, binary, env...)
	log, err := os.OpenFile(h.logFile(), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close() // the process has its own
	from, err := log.Seek(0, 2)
	if err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	cmd.Stderr, cmd.ExtraFiles = log, []*os.File{w}
	p := &Process{cmd: cmd, ended: make(chan struct{}), log: h.logFile(), from: from}
	began := time.Now()
	err = cmd.Start()
	_ = w.Close() // so that its end is seen here
	if err != nil {
		return nil, fmt.Errorf("starting inkand: %w", err)
	}
	go func() {
		defer close(p.ended)
		_ = cmd.Wait() // ProcessState has it
	}()
	if AwaitReady(r) {
		p.Ready = time.Since(began)
	} else if err := p.Wait(ctx, patience); err != nil {
		return nil, err
	}
	return p, ctx.Err()
}

// Command is what Start runs.
func (h *House) Command(ctx context.Context, binary string, env ...string) *exec.Cmd {
	args := []string{
		"serve", "--virtual", "--ready-fd", "3",
		"--state", h.State(), "--socket", h.Socket(), "--pin-socket", filepath.Join(h.Dir, "pin.sock"),
	}
	if _, err := os.Stat(h.config()); err == nil {
		args = append(args, "--config", h.config())
	}
	cmd := exec.CommandContext(ctx, binary, args...) //nolint:gosec // built by the run itself
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, "INKAN_") }), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // nothing is left behind
	return cmd
}

// AwaitReady reads what --ready-fd says.
func AwaitReady(r *os.File) bool {
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
}

// Stop stops it in order and returns its exit code, -1 for one that did not
// stop and was killed.
func (p *Process) Stop(ctx context.Context) int {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	if err := p.Wait(ctx, patience); err != nil {
		p.Kill()
		return -1
	}
	return p.cmd.ProcessState.ExitCode()
}

// Killed reports whether it has ended by SIGKILL.
func (p *Process) Killed() bool {
	select {
	case <-p.ended:
	default:
		return false
	}
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// ExitCode is that of a process that has ended, -1 for one that was killed.
func (p *Process) ExitCode() int { return p.cmd.ProcessState.ExitCode() }

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
