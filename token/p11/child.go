package p11

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/inkan-project/inkan/token"
	"github.com/inkan-project/inkan/token/p11/frame"
	"github.com/inkan-project/inkan/token/p11/module"
)

// What can become of a process with a module in it. After any of these it is
// ended, and whether the module did what it was asked for is not known.
var (
	// ErrSilent means that the module did not return in time.
	ErrSilent = errors.New("the PKCS#11 module did not answer in time")
	// ErrCrashed means that the process ended by itself.
	ErrCrashed = errors.New("the PKCS#11 module crashed")
	// ErrGarbage means that what came was no answer.
	ErrGarbage = errors.New("what came from the PKCS#11 module is no answer")
)

// child is a process with a module in it. It belongs to one goroutine.
type child struct {
	socket int
	cmd    *exec.Cmd
	ended  chan struct{} // closed when the process is gone
	buffer []byte
	dead   error // why nothing can be asked any more, or nil
	// unconfined says what of its cage this kernel does not have.
	unconfined []string
	info       frame.Info // of the module
	lose       func(frame.Op) loss

	mu     sync.Mutex // guards reaped
	reaped bool       // its number may belong to another process
}

// loss is what tests let happen to an operation.
type loss uint8

const (
	notLost     loss = iota
	lostRequest      // it does not reach the module
	lostAnswer       // it does, and the process ends before it says so
)

// pcscSocket names another socket of pcscd to libpcsclite, ours and the
// module's.
const pcscSocket = "PCSCLITE_CSOCK_NAME"

// start starts this very program anew, in its cage and with nothing of ours but
// one socket. It holds no module yet.
func start(writable []string) (*child, error) {
	ours, theirs, err := frame.Pair()
	if err != nil {
		return nil, err
	}
	end := os.NewFile(uintptr(theirs), "pkcs11")
	defer func() { _ = end.Close() }()
	cmd := exec.Command("/proc/self/exe", module.Verb) //nolint:gosec // our own program and word
	cmd.Env = []string{"PATH=/usr/bin:/bin", "LANG=C.UTF-8"}
	if socket, ok := os.LookupEnv(pcscSocket); ok {
		cmd.Env = append(cmd.Env, pcscSocket+"="+socket)
	}
	cmd.Dir = "/"
	cmd.ExtraFiles = []*os.File{end} // becomes module.Socket
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	unconfined, err := confined(writable, cmd.Start)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting a process for a PKCS#11 module: %w", err), unix.Close(ours))
	}
	c := &child{socket: ours, cmd: cmd, ended: make(chan struct{}), buffer: make([]byte, frame.Max+1), unconfined: unconfined}
	go c.reap()
	return c, nil
}

// confined calls f on a thread in the cage, which ends with it. Go starts no
// other threads from such a one (runtime.LockOSThread).
func confined(writable []string, f func() error) (missing []string, err error) {
	if err := closeOnExec(); err != nil {
		return nil, err
	}
	done := make(chan struct{})
	go onOtherThread(func() {
		defer close(done)
		if missing, err = module.Confine(writable); err == nil {
			err = f()
		}
	})
	<-done
	return missing, err
}

// onOtherThread calls f on a thread that ends with the goroutine. The first one
// of a process never ends, and is what others know the process by: confined, it
// would be as one with each module. It is held while f has another.
func onOtherThread(f func()) {
	runtime.LockOSThread() // for good, but for the first
	if unix.Gettid() != unix.Getpid() {
		f()
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		onOtherThread(f)
	}()
	<-done
	runtime.UnlockOSThread()
}

// closeOnExec keeps what this process was started with from what it starts: all
// that Go opens is so already.
func closeOnExec() error {
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return fmt.Errorf("listing descriptors: %w", err)
	}
	for _, entry := range all {
		if fd, err := strconv.Atoi(entry.Name()); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
	return nil
}

// reap waits until the process has ended and ends what it has left running,
// while its number is still its own.
func (c *child) reap() {
	defer close(c.ended)
	for {
		err := unix.Waitid(unix.P_PID, c.cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	c.kill()
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.cmd.Wait() // how it ended is told where somebody waits for an answer
	c.reaped = true
}

// call asks for one operation and waits for the answer, no longer than ctx.
// Once the request is on its way an error says nothing about what was done.
func (c *child) call(ctx context.Context, req frame.Request, secrets ...*token.PIN) (frame.Answer, error) {
	if c.dead != nil {
		return frame.Answer{}, c.dead
	}
	if err := ctx.Err(); err != nil {
		return frame.Answer{}, err
	}
	files, err := handOver(&req, secrets)
	defer wipe(files)
	if err != nil {
		return frame.Answer{}, err
	}
	var answer frame.Answer
	// The process is killed when time is over, which ends the wait.
	stop := context.AfterFunc(ctx, c.kill)
	lost := notLost
	if c.lose != nil {
		lost = c.lose(req.Op)
	}
	switch {
	case lost == lostRequest:
	case frame.IsWaiting(c.socket): // an answer that nobody asked for: the next would be off by one
		err = fmt.Errorf("%w: it speaks unasked", frame.ErrGarbage)
	default:
		err = frame.Send(c.socket, req, files...)
	}
	if err == nil && lost != lostRequest {
		var came []int
		came, err = frame.Receive(c.socket, &answer, c.buffer)
		frame.Close(came)
	}
	if lost != notLost {
		err = io.EOF
	}
	if !stop() {
		err = fmt.Errorf("%w: %w", ErrSilent, context.Cause(ctx))
	}
	if err != nil {
		return frame.Answer{}, c.died(req.Op, err)
	}
	return answer, nil
}

// died notes why nothing can be asked any more.
func (c *child) died(op frame.Op, err error) error {
	switch {
	case errors.Is(err, ErrSilent):
	case errors.Is(err, frame.ErrGarbage):
		err = fmt.Errorf("%w: %w", ErrGarbage, err)
	case errors.Is(err, io.EOF), errors.Is(err, unix.EPIPE), errors.Is(err, unix.ECONNRESET):
		err = ErrCrashed
	}
	c.dead = fmt.Errorf("asking for %s: %w", op, err)
	c.kill()
	return c.dead
}

// kill ends the process at once, with all that it has started. It may be called
// by anybody.
func (c *child) kill() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.reaped {
		_ = unix.Kill(-c.cmd.Process.Pid, unix.SIGKILL)
		_ = unix.Shutdown(c.socket, unix.SHUT_RDWR) // wakes whoever waits
	}
}

// close ends the process and waits until it is gone. An orderly end lets the
// module finish; ctx bounds it.
func (c *child) close(ctx context.Context) {
	if c.dead == nil {
		_, _ = c.call(ctx, frame.Request{Op: frame.OpEnd})
	}
	c.dead = ErrCrashed
	select {
	case <-c.ended:
	case <-ctx.Done():
		c.kill()
		<-c.ended
	}
	_ = unix.Close(c.socket)
}

// handOver puts secrets into files in memory, which the request announces.
func handOver(req *frame.Request, secrets []*token.PIN) (files []int, err error) {
	for _, s := range secrets {
		bytes, err := s.Command(nil, 0, 0)
		if err != nil {
			return files, err
		}
		fd, err := unix.MemfdCreate("pin", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
		if err != nil {
			return files, fmt.Errorf("making a file for a secret: %w", err)
		}
		files = append(files, fd)
		if n, err := unix.Write(fd, bytes); err != nil || n != len(bytes) {
			return files, fmt.Errorf("writing a secret: %d of %d bytes: %w", n, len(bytes), err)
		}
		req.Secrets = append(req.Secrets, len(bytes))
	}
	return files, nil
}

// wipe zeroes and closes the files of secrets. Whoever else has one open finds
// zeros.
func wipe(files []int) {
	var zeros [token.PINCapacity]byte
	for _, fd := range files {
		_, _ = unix.Pwrite(fd, zeros[:], 0)
		_ = unix.Close(fd)
	}
}
