// Package logind asks systemd-logind who sits at the PC, and hears from it when
// the PC sleeps.
//
// It guarantees that a PC goes to sleep only after Config.Sleep has returned,
// as long as logind lets services delay it (InhibitDelayMaxSec, 5 s unless set),
// that each Sleep is followed by one Wake, also when the bus goes away between,
// and that not knowing who sits where is told apart from knowing that somebody
// does not. A PC without logind is in order: nothing is known, nothing is
// delayed. The caller must call [Conn.Run]; Config.Sleep must end with its
// context.
//
// What is called and its errors: org.freedesktop.login1(5).
package logind

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/godbus/dbus/v5"
)

const (
	service  = "org.freedesktop.login1"
	rootPath = dbus.ObjectPath("/org/freedesktop/login1")
	manager  = service + ".Manager"
	session  = service + ".Session"
	userType = service + ".User"
	busName  = "org.freedesktop.DBus"
)

const (
	// callTime is how long an answer of logind is waited for.
	callTime = 2 * time.Second
	// defaultDelay is how long a sleep is delayed where logind does not say
	// (logind.conf(5), InhibitDelayMaxSec).
	defaultDelay = 5 * time.Second
	// defaultRetry is how long to wait before connecting anew.
	defaultRetry = 5 * time.Second
)

// Config is what a Conn needs.
type Config struct {
	// Sleep is called before the PC sleeps and returns when it may, or when ctx
	// ends: then it sleeps anyway.
	Sleep func(ctx context.Context)
	// Wake is called when the PC is awake again, or does not sleep after all.
	Wake func()
	// Address is that of the bus; "" = the system bus.
	Address string
	// Retry is how long to wait before connecting anew; 0 = 5 s.
	Retry  time.Duration
	Logger *slog.Logger
}

// Conn is a connection to logind, where there is one. Its methods may be used
// by many goroutines.
type Conn struct {
	cfg Config

	mu  sync.Mutex // guards bus
	bus *dbus.Conn // nil: none
}

// New returns a Conn that connects once Run does.
func New(cfg Config) *Conn {
	if cfg.Retry == 0 {
		cfg.Retry = defaultRetry
	}
	return &Conn{cfg: cfg}
}

// Run stays connected until ctx ends and returns nil then. It never fails: a PC
// whose logind cannot be reached is used without it.
func (c *Conn) Run(ctx context.Context) error {
	told := ""
	for ctx.Err() == nil {
		err := c.stay(ctx)
		if text := err.Error(); ctx.Err() == nil && text != told { // not again and again
			c.cfg.Logger.InfoContext(ctx, "Without logind: neither sleep nor seats are known", "error", err)
			told = text
		}
		select {
		case <-time.After(c.cfg.Retry):
		case <-ctx.Done():
		}
	}
	return nil
}

// stay is connected once.
func (c *Conn) stay(ctx context.Context) error {
	bus, err := c.dial(ctx)
	if err != nil {
		return fmt.Errorf("connecting to the bus: %w", err)
	}
	defer bus.Close()
	signals := make(chan *dbus.Signal, 8)
	bus.Signal(signals)
	if err := bus.AddMatchSignalContext(ctx, dbus.WithMatchSender(service), dbus.WithMatchObjectPath(rootPath),
		dbus.WithMatchInterface(manager), dbus.WithMatchMember("PrepareForSleep")); err != nil {
		return fmt.Errorf("listening for sleep: %w", err)
	}
	if err := bus.AddMatchSignalContext(ctx, dbus.WithMatchSender(busName), dbus.WithMatchInterface(busName),
		dbus.WithMatchMember("NameOwnerChanged"), dbus.WithMatchArg(0, service)); err != nil {
		return fmt.Errorf("listening for logind's end: %w", err)
	}
	s := sleeper{conn: c, bus: bus, most: defaultDelay}
	defer s.release()
	defer s.wake()
	if err := s.inhibit(ctx); err != nil {
		if !denied(err) {
			return fmt.Errorf("asking for a delay of sleep: %w", err)
		}
		c.cfg.Logger.WarnContext(ctx, "logind lets this service not delay sleep: cards may be reset too late", "error", err)
	}
	c.hold(bus)
	defer c.hold(nil)
	for {
		select {
		case signal, ok := <-signals:
			if !ok {
				return errors.New("the bus went away")
			}
			if err := s.told(ctx, signal); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// dial connects to the bus.
func (c *Conn) dial(ctx context.Context) (*dbus.Conn, error) {
	if c.cfg.Address == "" {
		return dbus.ConnectSystemBus(dbus.WithContext(ctx))
	}
	return dbus.Connect(c.cfg.Address, dbus.WithContext(ctx))
}

func (c *Conn) hold(bus *dbus.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bus = bus
}

// sleeper follows the sleep of the PC on one connection. One goroutine uses it.
type sleeper struct {
	conn   *Conn
	bus    *dbus.Conn
	delay  *os.File      // while open the PC does not sleep; nil: none
	most   time.Duration // how long logind waits for us
	asleep bool          // Sleep was called and Wake was not
}

// inhibit asks logind to wait for us before the PC sleeps.
func (s *sleeper) inhibit(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	var fd dbus.UnixFD
	err := s.bus.Object(service, rootPath).CallWithContext(ctx, manager+".Inhibit", 0,
		"sleep", "inkand", "Cards are reset first", "delay").Store(&fd)
	if err != nil {
		return err
	}
	syscall.CloseOnExec(int(fd))
	s.release()
	s.delay, s.most = os.NewFile(uintptr(fd), "inhibitor"), defaultDelay
	if us, err := property[uint64](ctx, s.bus, rootPath, manager, "InhibitDelayMaxUSec"); err == nil {
		s.most = time.Duration(min(us, uint64(time.Minute/time.Microsecond))) * time.Microsecond
	}
	return nil
}

// release lets the PC sleep.
func (s *sleeper) release() {
	if s.delay != nil {
		_ = s.delay.Close() // it was never written to
		s.delay = nil
	}
}

// told takes one signal.
func (s *sleeper) told(ctx context.Context, signal *dbus.Signal) error {
	if signal.Name == busName+".NameOwnerChanged" {
		var name, before, owner string
		if dbus.Store(signal.Body, &name, &before, &owner) == nil && before != "" {
			return errors.New("logind went away") // what it delays and whom it tells ended with it
		}
		return nil
	}
	var begins bool
	if signal.Name != manager+".PrepareForSleep" {
		return nil
	}
	if err := dbus.Store(signal.Body, &begins); err != nil {
		return fmt.Errorf("reading what logind says of sleep: %w", err)
	}
	if !begins {
		s.wake()
		if err := s.inhibit(ctx); err != nil && !denied(err) {
			return fmt.Errorf("asking for a delay of sleep: %w", err)
		}
		return nil
	}
	if !s.asleep {
		s.asleep = true
		patience, cancel := context.WithTimeout(ctx, s.most*4/5) // logind must hear of it in time
		s.conn.cfg.Sleep(patience)
		cancel()
	}
	s.release()
	return nil
}

// wake ends a sleep, if there is one.
func (s *sleeper) wake() {
	if s.asleep {
		s.asleep = false
		s.conn.cfg.Wake()
	}
}

// denied reports whether logind or the bus forbade something.
func denied(err error) bool {
	return named(err, "org.freedesktop.DBus.Error.AccessDenied", "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired")
}
