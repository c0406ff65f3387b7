// Package logindtest is a systemd-logind that a test tells what to say, on a
// message bus of its own.
//
// It guarantees that the bus is gone when the test has ended. It does only what
// package logind asks for; that the real one does the same, the boot test shows.
package logindtest

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/godbus/dbus/v5/prop"
)

const (
	service = "org.freedesktop.login1"
	root    = dbus.ObjectPath("/org/freedesktop/login1")
)

// delay is a pipe: its read end tells when all who have the other one let go.
type delay struct{ read, write *os.File }

// busConfig lets everybody on the bus do everything.
const busConfig = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path=%s</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/></policy>
</busconfig>`

// Login is a fake systemd-logind. Its methods may be used by many goroutines.
type Login struct {
	// Address is that of its bus.
	Address string

	t   testing.TB
	bus *dbus.Conn
	dir string

	mu       sync.Mutex // guards what follows
	sessions map[uint32]dbus.ObjectPath
	users    map[uint32]dbus.ObjectPath
	delays   []delay
	given    chan struct{}
	refuse   bool
}

// Start starts a bus with a logind on it.
func Start(t testing.TB) *Login {
	t.Helper()
	dir, err := os.MkdirTemp("", "inkan-bus") // a path that a socket's name has room for
	if err != nil {
		t.Fatal(err)
	}
	l := &Login{t: t, dir: dir, sessions: map[uint32]dbus.ObjectPath{}, users: map[uint32]dbus.ObjectPath{}, given: make(chan struct{}, 16)}
	socket := filepath.Join(dir, "bus")
	l.Address = "unix:path=" + socket
	config := filepath.Join(dir, "bus.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, busConfig, socket), 0o600); err != nil {
		t.Fatal(err)
	}
	l.startBus(config)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if l.bus, err = dbus.Connect(l.Address); err != nil {
		t.Fatalf("connecting to the bus: %v", err)
	}
	t.Cleanup(func() { _ = l.bus.Close() })
	l.export()
	return l
}

// startBus starts dbus-daemon and waits for its address.
func (l *Login) startBus(config string) {
	l.t.Helper()
	cmd := exec.Command("dbus-daemon", "--config-file="+config, "--nofork", "--print-address=1") //nolint:gosec // the configuration is the test's own
	out, err := cmd.StdoutPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	cmd.Stderr = l.t.Output()
	if err := cmd.Start(); err != nil {
		l.t.Fatalf("starting dbus-daemon: %v", err)
	}
	l.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		l.t.Fatalf("dbus-daemon said no address: %v", err)
	}
}

// export puts logind on the bus.
func (l *Login) export() {
	l.t.Helper()
	if err := l.bus.Export(calls{l}, root, service+".Manager"); err != nil {
		l.t.Fatal(err)
	}
	if err := l.bus.Export(properties{l}, root, "org.freedesktop.DBus.Properties"); err != nil {
		l.t.Fatal(err)
	}
	if _, err := l.bus.RequestName(service, dbus.NameFlagDoNotQueue); err != nil {
		l.t.Fatal(err)
	}
}

// properties puts an object's properties on the bus.
func (l *Login) properties(path dbus.ObjectPath, of string, values map[string]any) {
	l.t.Helper()
	props := map[string]*prop.Prop{}
	for name, value := range values {
		props[name] = &prop.Prop{Value: value}
	}
	if _, err := prop.Export(l.bus, path, prop.Map{service + "." + of: props}); err != nil {
		l.t.Fatal(err)
	}
}

// reference is how logind names a session or a seat.
type reference struct {
	ID   string
	Path dbus.ObjectPath
}

// Session adds a session, or changes one that is there. seat "" = none.
func (l *Login) Session(id string, active bool, seat string, pids ...int) {
	l.t.Helper()
	path := root + dbus.ObjectPath("/session/"+id)
	at := reference{ID: seat, Path: "/"}
	if seat != "" {
		at.Path = root + dbus.ObjectPath("/seat/"+seat)
	}
	l.properties(path, "Session", map[string]any{"Active": active, "Seat": at})
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, pid := range pids {
		l.sessions[uint32(pid)] = path
	}
}

// User adds a user whose main session is the one given, "" = none.
func (l *Login) User(uid uint32, display string) {
	l.t.Helper()
	path := root + dbus.ObjectPath("/user/_"+strconv.Itoa(int(uid)))
	main := reference{ID: display, Path: "/"}
	if display != "" {
		main.Path = root + dbus.ObjectPath("/session/"+display)
	}
	l.properties(path, "User", map[string]any{"Display": main})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.users[uid] = path
}

// RefuseDelays makes logind refuse to be delayed.
func (l *Login) RefuseDelays() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refuse = true
}

// AwaitDelay waits until a service has a delay of sleep that nobody awaited yet.
func (l *Login) AwaitDelay() {
	l.t.Helper()
	select {
	case <-l.given:
	case <-time.After(10 * time.Second):
		l.t.Fatal("nobody asked to delay sleep")
	}
}

// Sleep tells all that the PC is about to sleep and waits until all who delay
// that have let go; it returns how long that took.
func (l *Login) Sleep() time.Duration {
	l.t.Helper()
	began := time.Now()
	l.mu.Lock()
	delays := l.delays
	l.delays = nil
	l.mu.Unlock()
	l.emit(true)
	for _, d := range delays {
		_ = d.write.Close() // ours; the service has its own by now
		if err := d.read.SetReadDeadline(began.Add(10 * time.Second)); err != nil {
			l.t.Fatal(err)
		}
		if _, err := d.read.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
			l.t.Errorf("the delay was not given up: %v", err)
		}
		_ = d.read.Close()
	}
	return time.Since(began)
}

// Delays returns how many delays are held.
func (l *Login) Delays() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.delays)
}

// Wake tells all that the PC is awake again.
func (l *Login) Wake() {
	l.t.Helper()
	l.emit(false)
}

func (l *Login) emit(begins bool) {
	l.t.Helper()
	if err := l.bus.Emit(root, service+".Manager.PrepareForSleep", begins); err != nil {
		l.t.Fatal(err)
	}
}

// Leave takes logind away from the bus, as a crash does.
func (l *Login) Leave() { _ = l.bus.Close() }

// calls are the methods of logind's manager.
type calls struct{ l *Login }

// Inhibit implements org.freedesktop.login1.Manager.
func (c calls) Inhibit(what, _, _, mode string) (dbus.UnixFD, *dbus.Error) {
	c.l.mu.Lock()
	defer c.l.mu.Unlock()
	if c.l.refuse || what != "sleep" || mode != "delay" {
		return 0, dbus.NewError("org.freedesktop.DBus.Error.AccessDenied", []any{"not " + strings.Join([]string{what, mode}, " ")})
	}
	r, w, err := os.Pipe()
	if err != nil {
		return 0, dbus.MakeFailedError(err)
	}
	c.l.delays = append(c.l.delays, delay{r, w})
	return dbus.UnixFD(w.Fd()), nil
}

// properties are those of logind's manager.
type properties struct{ l *Login }

// Get implements org.freedesktop.DBus.Properties. A service asks for how long it
// may delay sleep when it has the delay in hand.
func (p properties) Get(_, name string) (dbus.Variant, *dbus.Error) {
	if name != "InhibitDelayMaxUSec" {
		return dbus.Variant{}, dbus.NewError("org.freedesktop.DBus.Error.UnknownProperty", []any{name})
	}
	p.l.given <- struct{}{}
	return dbus.MakeVariant(uint64(5 * time.Second / time.Microsecond)), nil
}

// GetSessionByPID implements org.freedesktop.login1.Manager.
func (c calls) GetSessionByPID(pid uint32) (dbus.ObjectPath, *dbus.Error) {
	c.l.mu.Lock()
	defer c.l.mu.Unlock()
	if path, ok := c.l.sessions[pid]; ok {
		return path, nil
	}
	return "/", dbus.NewError(service+".NoSessionForPID", []any{"no session"})
}

// GetUser implements org.freedesktop.login1.Manager.
func (c calls) GetUser(uid uint32) (dbus.ObjectPath, *dbus.Error) {
	c.l.mu.Lock()
	defer c.l.mu.Unlock()
	if path, ok := c.l.users[uid]; ok {
		return path, nil
	}
	return "/", dbus.NewError(service+".NoSuchUser", []any{"no user"})
}
