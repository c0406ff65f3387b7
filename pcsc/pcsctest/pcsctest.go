// Package pcsctest gives a test a pcscd of its own, with virtual readers in
// which the test puts cards, and with every fault that readers and cables have.
//
// It guarantees that nothing reaches the pcscd of the computer or the network:
// each one runs in its own network and mount namespace with its own socket, and
// ends with the test, even with a test process that is killed. A caller must
// have pcscd and vsmartcard's vpcd installed and must not run two such tests of
// one process at once: libpcsclite reads the path of its socket only once, so
// all tests of a process share one path, which leads to the pcscd started last.
package pcsctest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// SocketVariable names the socket for libpcsclite, and so for every PC/SC
// program.
const SocketVariable = "PCSCLITE_CSOCK_NAME"

// Options says what there is.
type Options struct {
	// Readers are the names as in reader.conf; none means "Inkan Test". pcscd
	// adds numbers to them: see [Reader.Name].
	Readers []string
	// Bare is a pcscd without any reader.
	Bare bool
	// Down leaves pcscd switched off at first; Restart starts it.
	Down bool
}

// PCSCD is a private pcscd. Its methods are for the goroutine of the test.
type PCSCD struct {
	// Socket is what other programs need in PCSCLITE_CSOCK_NAME. For this
	// process it is set already.
	Socket string

	t       testing.TB
	dir     string
	readers []*Reader
	running *running // nil while it is down
}

// running is one life of pcscd.
type running struct {
	pid    int
	kill   func() // asks the process to end at once; does not wait
	exited <-chan struct{}
}

// script makes the inside of the namespaces and becomes pcscd. /run is hidden:
// pcscd writes its number there. The route makes the kernel acknowledge at
// once; without it each command to a card costs 44 ms (Nagle's algorithm in
// vpcd against delayed acknowledgement).
const script = `set -eu
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mkdir /run/pcscd
ip link set lo up
ip route replace local 127.0.0.0/8 dev lo proto kernel scope host src 127.0.0.1 table local quickack 1
LISTEN_PID=$$ LISTEN_FDS=1 exec pcscd --foreground --info --config "$1"
`

const (
	driver    = "/usr/lib/pcsc/drivers/serial/libifdvpcd.so"
	firstPort = 0x8C7B // vsmartcard's default; any would do in a namespace of its own
	portStep  = 2      // each reader has a second slot on the next port, which stays empty
	patience  = time.Minute
)

// Start starts a pcscd that ends with the test.
func Start(t testing.TB, o Options) *PCSCD {
	t.Helper()
	if len(o.Readers) == 0 && !o.Bare {
		o.Readers = []string{"Inkan Test"}
	}
	for _, tool := range []string{"pcscd", "ip", "mount", "sh"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("a private pcscd needs %s: %v", tool, err)
		}
	}
	dir, err := os.MkdirTemp("", "inkan-pcscd-") // short: a socket's path has 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	p := &PCSCD{t: t, dir: dir, Socket: filepath.Join(dir, "pcscd.comm")}
	t.Cleanup(p.end)
	if err := p.configure(o.Readers); err != nil {
		t.Fatal(err)
	}
	p.use(t)
	if !o.Down {
		p.Restart()
	}
	return p
}

// Reader returns the reader with this name in reader.conf.
func (p *PCSCD) Reader(name string) *Reader {
	p.t.Helper()
	for _, r := range p.readers {
		if r.friendly == name {
			return r
		}
	}
	p.t.Fatalf("no reader %q was asked for", name)
	return nil
}

// PID is the process of pcscd, 0 while it is down.
func (p *PCSCD) PID() int {
	if p.running == nil {
		return 0
	}
	return p.running.pid
}

// configure writes reader.conf. Each reader gets a copy of the driver: vpcd
// keeps its connections in one table by slot, so that readers of one driver
// show each other's cards (vsmartcard 3.3, src/ifd-vpcd/ifd-vpcd.c).
func (p *PCSCD) configure(names []string) error {
	conf := filepath.Join(p.dir, "conf")
	if err := os.Mkdir(conf, 0o755); err != nil { //nolint:gosec // pcscd may be another user
		return fmt.Errorf("making a folder for reader.conf: %w", err)
	}
	code, err := os.ReadFile(driver)
	if err != nil {
		return fmt.Errorf("reading the driver of vsmartcard-vpcd: %w", err)
	}
	for i, name := range names {
		port := firstPort + i*portStep
		own := filepath.Join(p.dir, fmt.Sprintf("vpcd%d.so", i))
		if err := os.WriteFile(own, code, 0o755); err != nil { //nolint:gosec // it is to be executed
			return fmt.Errorf("copying the driver: %w", err)
		}
		text := fmt.Sprintf("FRIENDLYNAME %q\nDEVICENAME /dev/null:0x%04X\nLIBPATH %s\nCHANNELID 0x%04X\n", name, port, own, port)
		if err := os.WriteFile(filepath.Join(conf, strconv.Itoa(i)), []byte(text), 0o600); err != nil {
			return fmt.Errorf("writing reader.conf: %w", err)
		}
		p.readers = append(p.readers, newReader(p, name, port))
	}
	return nil
}

// use leads this process to the socket. The path must be the same for all
// tests of a process; t.Setenv refuses tests that run at the same time.
func (p *PCSCD) use(t testing.TB) {
	t.Helper()
	shared := filepath.Join(os.TempDir(), fmt.Sprintf("inkan-pcscd-of-%d", os.Getpid()))
	if err := os.Remove(shared); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	if err := os.Symlink(p.Socket, shared); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if target, err := os.Readlink(shared); err == nil && target == p.Socket {
			_ = os.Remove(shared)
		}
	})
	t.Setenv(SocketVariable, shared)
}

// Kill kills pcscd, as a crash would. Cards stay inserted.
func (p *PCSCD) Kill() { p.stop(func(r *running) { r.kill() }) }

// Terminate ends pcscd in good order.
func (p *PCSCD) Terminate() {
	p.stop(func(r *running) { _ = syscall.Kill(r.pid, syscall.SIGTERM) })
}

// Pause keeps pcscd from running, as a machine under load or a driver that
// hangs would; Resume lets it go on.
func (p *PCSCD) Pause() {
	p.t.Helper()
	p.signal(syscall.SIGSTOP)
	if err := awaitStop(p.running.pid); err != nil {
		p.t.Fatal(err)
	}
}

// Resume ends Pause.
func (p *PCSCD) Resume() { p.signal(syscall.SIGCONT) }

func (p *PCSCD) signal(s syscall.Signal) {
	p.t.Helper()
	if p.running == nil {
		p.t.Fatal("pcscd is down")
	}
	if err := syscall.Kill(p.running.pid, s); err != nil {
		p.t.Fatal(err)
	}
}

func (p *PCSCD) stop(how func(*running)) {
	if p.running == nil {
		return
	}
	r := p.running
	p.running = nil
	how(r)
	select {
	case <-r.exited:
	case <-time.After(patience):
		r.kill()
		<-r.exited
		p.t.Errorf("pcscd did not end within %v", patience)
	}
	_ = os.Remove(p.Socket)
	for _, reader := range p.readers {
		reader.serviceEnded()
	}
}

// Restart starts pcscd, after it was killed when it still runs, and puts the
// cards back that were inserted. It returns when all readers listen.
func (p *PCSCD) Restart() {
	p.t.Helper()
	p.Kill()
	started, err := p.launch()
	if err != nil {
		p.t.Fatal(err)
	}
	p.running = started
	if err := p.awaitReaders(); err != nil {
		p.t.Fatalf("pcscd: %v\n%s", err, p.log())
	}
	for _, reader := range p.readers {
		reader.serviceStarted()
	}
}

// launch starts a pcscd on a new socket.
func (p *PCSCD) launch() (*running, error) {
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: p.Socket, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("making pcscd's socket: %w", err)
	}
	listener.SetUnlinkOnClose(false)
	defer listener.Close()
	socket, err := listener.File()
	if err != nil {
		return nil, fmt.Errorf("handing over pcscd's socket: %w", err)
	}
	defer socket.Close()
	log, err := os.OpenFile(p.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening pcscd's log: %w", err)
	}
	defer log.Close()
	cmd := exec.Command("sh", "-c", script, "pcscd", filepath.Join(p.dir, "conf")) //nolint:gosec // a path of ours
	cmd.ExtraFiles = []*os.File{socket}                                            // 3, where socket activation looks
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = namespaces()
	return startTied(cmd)
}

func (p *PCSCD) logPath() string { return filepath.Join(p.dir, "log") }

// log is what pcscd and its shell wrote.
func (p *PCSCD) log() string {
	text, err := os.ReadFile(p.logPath())
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// end leaves nothing behind. It runs after a panic of the test as well; after
// a kill, the kernel ends pcscd and its namespaces.
func (p *PCSCD) end() {
	for _, reader := range p.readers {
		reader.close()
	}
	p.Kill()
	if p.t.Failed() {
		p.t.Logf("pcscd's log:\n%s", p.log())
	}
	if err := os.RemoveAll(p.dir); err != nil {
		p.t.Error(err)
	}
}
