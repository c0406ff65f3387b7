package pcsctest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// namespaces gives pcscd a network and mounts of its own. Who is not root gets
// a user namespace too, in which he is.
func namespaces() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS,
		Pdeathsig:  syscall.SIGKILL,
		Setpgid:    true, // Ctrl-C is for the test, which ends us in order
	}
	if os.Geteuid() != 0 {
		attr.Cloneflags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	return attr
}

// startTied starts a process that the kernel kills when this one ends. The
// kernel goes by the thread that started it, so that thread is kept.
func startTied(cmd *exec.Cmd) (*running, error) {
	started, exited := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread()
		defer close(exited)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // it is killed most of the time
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting %s: %w", cmd.Path, err)
	}
	return &running{pid: cmd.Process.Pid, kill: func() { _ = cmd.Process.Kill() }, exited: exited}, nil
}

// awaitReaders waits until every reader listens. It only looks: connecting
// would insert a card.
func (p *PCSCD) awaitReaders() error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for {
		listening, err := listeningPorts(p.running.pid)
		if err != nil {
			return err
		}
		missing := 0
		for _, reader := range p.readers {
			if !listening[reader.port] {
				missing++
			}
		}
		if missing == 0 {
			return nil
		}
		select {
		case <-p.running.exited:
			return errors.New("ended at once")
		case <-deadline:
			return fmt.Errorf("%d of %d readers do not listen after %v", missing, len(p.readers), patience)
		case <-tick.C:
		}
	}
}

// awaitStop waits until all threads of a process have stopped: the signal only
// asks for it.
func awaitStop(pid int) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		if err != nil {
			return fmt.Errorf("looking at threads: %w", err)
		}
		running := slices.ContainsFunc(threads, func(name string) bool {
			text, err := os.ReadFile(name)
			_, state, ok := strings.Cut(string(text), ") ") // after the name in brackets
			return err == nil && ok && !strings.HasPrefix(state, "T")
		})
		if !running {
			return nil
		}
		select {
		case <-deadline:
			return fmt.Errorf("pcscd did not stop within %v", patience)
		case <-tick.C:
		}
	}
}

// stateListen is TCP_LISTEN in /proc/net/tcp (Linux include/net/tcp_states.h).
const stateListen = "0A"

// listeningPorts reads the TCP ports that are open in a process's network.
func listeningPorts(pid int) (map[int]bool, error) {
	file, err := os.Open(fmt.Sprintf("/proc/%d/net/tcp", pid))
	if err != nil {
		return nil, fmt.Errorf("looking for readers: %w", err)
	}
	defer file.Close()
	ports := map[int]bool{}
	for lines := bufio.NewScanner(file); lines.Scan(); {
		fields := strings.Fields(lines.Text()) // number, local address:port, remote, state
		if len(fields) < 4 || fields[3] != stateListen {
			continue
		}
		_, hex, _ := strings.Cut(fields[1], ":")
		if port, err := strconv.ParseUint(hex, 16, 16); err == nil {
			ports[int(port)] = true
		}
	}
	return ports, nil
}

// dial connects to a reader from within its network.
func dial(ctx context.Context, pid, port int) (net.Conn, error) {
	if os.Geteuid() != 0 {
		return dialByShell(ctx, pid, port)
	}
	type result struct {
		conn net.Conn
		err  error
	}
	done := make(chan result)
	go func() {
		// The thread is never unlocked: it ends with this goroutine and takes
		// the foreign network with it.
		runtime.LockOSThread()
		conn, err := dialInside(pid, port)
		done <- result{conn, err}
	}()
	r := <-done
	return r.conn, r.err
}

// dialInside moves its thread into the network of a process and connects. The
// socket stays in that network for good. All is done by plain system calls:
// Go's own dialer may use other threads.
func dialInside(pid, port int) (net.Conn, error) {
	network, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return nil, fmt.Errorf("finding pcscd's network: %w", err)
	}
	defer network.Close()
	if err := unix.Setns(int(network.Fd()), unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("entering pcscd's network: %w", err)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("making a socket: %w", err)
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("connecting to the reader: %w", err)
	}
	return connOf(fd)
}

// connOf makes a connection of Go from a descriptor, which it takes over.
func connOf(fd int) (net.Conn, error) {
	file := os.NewFile(uintptr(fd), "vpcd")
	defer file.Close()
	conn, err := net.FileConn(file)
	if err != nil {
		return nil, fmt.Errorf("using the socket: %w", err)
	}
	return conn, nil
}

// dialByShell is for who is not root: a process with threads cannot enter a
// user namespace. A shell in there opens the connection, we take its socket
// out of it, and it ends.
func dialByShell(ctx context.Context, pid, port int) (net.Conn, error) {
	const connect = `exec 3<>/dev/tcp/127.0.0.1/"$1" && echo && read -r end`
	args := []string{
		"--target", strconv.Itoa(pid), "--user", "--net", "--preserve-credentials",
		"bash", "-c", connect, "bash", strconv.Itoa(port),
	}
	cmd := exec.CommandContext(ctx, "nsenter", args...) //nolint:gosec // two numbers of ours
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("preparing a shell: %w", err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("preparing a shell: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting nsenter: %w", err)
	}
	defer func() {
		_ = stdin.Close() // ends the read, and so the shell
		_ = cmd.Wait()
	}()
	if _, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
		return nil, fmt.Errorf("connecting to the reader as another user: %w", err)
	}
	pidfd, err := unix.PidfdOpen(cmd.Process.Pid, 0)
	if err != nil {
		return nil, fmt.Errorf("finding the shell: %w", err)
	}
	defer unix.Close(pidfd)
	fd, err := unix.PidfdGetfd(pidfd, 3, 0)
	if err != nil {
		return nil, fmt.Errorf("taking the socket over: %w", err)
	}
	return connOf(fd)
}
