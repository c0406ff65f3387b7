// Package daemontest starts the real inkand inside a test: on temporary
// sockets, with a virtual card and a scripted PIN agent.
//
// It guarantees that a started daemon is stopped and waited for when the test
// ends, and fails the test if it did not stop in order. A test asks the card's
// own truth log, not the daemon, what really happened: see [Daemon.Truth].
package daemontest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/inkan-project/inkan/client"
	"github.com/inkan-project/inkan/daemon"
	"github.com/inkan-project/inkan/daemon/internal/pinguard"
	"github.com/inkan-project/inkan/pcsc"
	"github.com/inkan-project/inkan/pcsc/virtual"
	"github.com/inkan-project/inkan/pcsc/virtual/pivcard"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// startTime is how long a start or stop may take before the test fails.
const startTime = time.Minute

// Options says what to start.
type Options struct {
	// Dir is the directory of state, card and sockets; "" = a new one. A second
	// daemon on the Dir of a stopped one finds what that one left.
	Dir string
	// Keys says which keys a new card has; nil = P-256 in 9A, 9C and 9E, which
	// are made at once.
	Keys map[pivcard.Slot]pivcard.KeyType
	// Behaviour is that of a new card.
	Behaviour pivcard.Behaviour
	// NotVirtual runs the daemon as if the card were a real one: the virtual
	// uid has no roles, and virtual cards are refused.
	NotVirtual bool
	// Config is changed by this before the start.
	Config func(*daemon.Config)
	// Hooks are faults of the reader.
	Hooks virtual.Options
	// PCSCD runs the daemon on the pcscd that the environment names, as on a
	// PC: the test puts the cards in. Members of the test's own group sign, and
	// the PINs of this program count as entered by a person.
	PCSCD bool
	// Now is the clock of the PC; nil = the real one.
	Now func() time.Time
	// Waits makes waits after wrong tries as long as they really are. Without
	// it an hour passes each time that somebody looks at the clock.
	Waits bool
}

// Daemon is a running inkand.
type Daemon struct {
	Dir    string
	Socket string
	Reader *virtual.System // nil with PCSCD
	Card   *pivcard.Card   // nil with PCSCD

	t     testing.TB
	close func() error // nil once stopped
}

// Start starts inkand and waits until it answers and knows its card.
func Start(t testing.TB, o Options) *Daemon {
	t.Helper()
	d, err := TryStart(t, o)
	if err != nil {
		t.Fatalf("starting inkand: %v", err)
	}
	return d
}

// TryStart is Start for tests in which the start should fail.
func TryStart(t testing.TB, o Options) (*Daemon, error) {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	if o.Keys == nil {
		o.Keys = map[pivcard.Slot]pivcard.KeyType{
			pivcard.SlotAuthentication: pivcard.P256, pivcard.SlotSignature: pivcard.P256, pivcard.SlotCardAuth: pivcard.P256,
		}
	}
	d := &Daemon{Dir: o.Dir, Socket: filepath.Join(o.Dir, "inkan.sock"), t: t}
	if o.PCSCD {
		if err := d.run(o); err != nil {
			return nil, err
		}
		t.Cleanup(d.Stop)
		return d, nil
	}
	d.Reader = virtual.New(o.Hooks)
	var err error
	if d.Card, err = pivcard.Open(pivcard.Options{Dir: d.cardDir(), Keys: o.Keys, Behaviour: o.Behaviour}); err != nil {
		return nil, err
	}
	if err := d.Reader.Insert(virtual.DefaultReader, d.Card); err != nil {
		return nil, errors.Join(err, d.Card.Close())
	}
	if err := d.run(o); err != nil {
		return nil, errors.Join(err, d.Card.Close())
	}
	t.Cleanup(d.Stop)
	d.awaitCard(!o.NotVirtual)
	return d, nil
}

// run starts the daemon and waits for it to be ready.
func (d *Daemon) run(o Options) error {
	cfg := daemon.Config{StateDir: filepath.Join(d.Dir, "state"), Socket: d.Socket}
	cfg.Limits.UserConnections = 256 // a test is many programs of one user
	var system pcsc.System
	if o.PCSCD {
		if err := behindPCSCD(&cfg); err != nil {
			return err
		}
	} else {
		system = d.Reader
	}
	if o.Config != nil {
		o.Config(&cfg)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error, 1)
	var once sync.Once
	go func() {
		ended <- daemon.Run(ctx, daemon.Options{
			Config: cfg, Virtual: !o.NotVirtual && !o.PCSCD, System: system, Version: "test",
			Logger: slog.New(slog.NewTextHandler(d.t.Output(), nil)),
			Now:    o.Now, Boot: o.boot(), Ready: func() { once.Do(func() { close(ready) }) },
		})
	}()
	d.close = func() error {
		cancel()
		select {
		case err := <-ended:
			return err
		case <-time.After(startTime):
			return errors.New("inkand did not stop")
		}
	}
	select {
	case <-ready:
		return nil
	case err := <-ended:
		cancel()
		return err
	case <-time.After(startTime):
		cancel()
		return errors.New("inkand did not become ready")
	}
}

// boot returns the clock of waits.
func (o Options) boot() func() pinguard.Boot {
	if o.Waits {
		return nil
	}
	var looks atomic.Int64
	return func() pinguard.Boot { return pinguard.Boot{Since: time.Duration(looks.Add(1)) * time.Hour} }
}

// behindPCSCD lets the tests' user sign with cards that are only software.
func behindPCSCD(cfg *daemon.Config) error {
	group, err := user.LookupGroupId(strconv.Itoa(os.Getgid()))
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	allow := true
	cfg.AllowVirtual, cfg.SignerGroup, cfg.PIN.TrustedAgents = &allow, group.Name, []string{self}
	return nil
}

// Await waits until the status is as wanted and returns it.
func (d *Daemon) Await(wanted func(*inkanpb.Status) bool) *inkanpb.Status {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startTime)
	defer cancel()
	var last *inkanpb.Status
	c := d.Client(nil)
	defer c.Close()
	for u, err := range c.Watch(ctx) {
		if err = errors.Join(err, u.Lost); err != nil {
			d.t.Fatalf("the status never became as wanted: %v; at last %v", err, last)
		}
		if last = u.Status; wanted(last) {
			return last
		}
	}
	d.t.Fatal("the status never became as wanted")
	return nil
}

// awaitCard waits until the daemon has looked at its card.
func (d *Daemon) awaitCard(usable bool) {
	d.t.Helper()
	c := d.Client(nil)
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), startTime)
	defer cancel()
	for u, err := range c.Watch(ctx) {
		if err = errors.Join(err, u.Lost); err != nil {
			d.t.Fatalf("waiting for the card: %v", err)
		}
		r := u.Status.GetReaders()
		if len(r) > 0 && (len(u.Status.GetCards()) > 0 || !usable && r[0].GetProblem() != "") {
			return
		}
	}
}

// Stop stops the daemon in order and closes the card. It may be called twice.
func (d *Daemon) Stop() {
	if d.close == nil {
		return
	}
	err := d.close()
	if d.Card != nil {
		err = errors.Join(err, d.Card.Close())
	}
	d.close = nil
	if err != nil {
		d.t.Errorf("stopping inkand: %v", err)
	}
}

// Client returns a client whose PINs come from pin; nil = it has none to give.
func (d *Daemon) Client(pin client.PINSource) *client.Client {
	d.t.Helper()
	c, err := client.Dial(context.Background(), client.Options{Socket: d.Socket, PIN: pin, Language: "en"})
	if err != nil {
		d.t.Fatalf("dialling inkand: %v", err)
	}
	d.t.Cleanup(func() { _ = c.Close() })
	return c
}

// Truth returns what the card saw.
func (d *Daemon) Truth() pivcard.Truth {
	d.t.Helper()
	truth, err := pivcard.ReadTruth(d.cardDir())
	if err != nil {
		d.t.Fatalf("reading the card's truth log: %v", err)
	}
	return truth
}

func (d *Daemon) cardDir() string { return filepath.Join(d.Dir, "card") }

// Key returns the key in a slot, for example "9a".
func (d *Daemon) Key(slot string) *inkanpb.Key {
	d.t.Helper()
	c := d.Client(nil)
	defer c.Close()
	keys, err := c.Keys(context.Background())
	if err != nil {
		d.t.Fatalf("listing keys: %v", err)
	}
	for _, k := range keys {
		if k.GetSlot() == slot {
			return k
		}
	}
	d.t.Fatalf("no key in slot %s", slot)
	return nil
}

// PIN is a scripted PIN agent: it gives the same digits to every prompt.
type PIN string

// PIN implements client.PINSource.
func (p PIN) PIN(_ context.Context, _ client.Prompt, buf []byte) (int, error) {
	return copy(buf, p), nil
}

// WrongPINs is a scripted PIN agent that gives another wrong PIN to each
// prompt: inkand does not send the same one twice.
func WrongPINs() PINFunc {
	var given atomic.Int64
	return func(_ context.Context, _ client.Prompt, buf []byte) (int, error) {
		return copy(buf, fmt.Sprintf("7%05d", given.Add(1)%100_000)), nil
	}
}

// PINFunc is a PIN agent made of a function.
type PINFunc func(ctx context.Context, p client.Prompt, buf []byte) (int, error)

// PIN implements client.PINSource.
func (f PINFunc) PIN(ctx context.Context, p client.Prompt, buf []byte) (int, error) {
	return f(ctx, p, buf)
}
