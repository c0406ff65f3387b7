package faults

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
	"time"

	"github.com/inkan-project/inkan/client"
	"github.com/inkan-project/inkan/daemon"
	"github.com/inkan-project/inkan/daemon/internal/audit"
	"github.com/inkan-project/inkan/daemon/internal/store"
	"github.com/inkan-project/inkan/pcsc/virtual"
	"github.com/inkan-project/inkan/pcsc/virtual/pivcard"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// waiting is an inkand in this process, under clocks of its own, with the rules
// of a PC where people enter PINs.
type waiting struct {
	dir    string
	clocks *clocks
	reader *virtual.System
	card   *pivcard.Card

	client *client.Client
	pin    entered
	id     string
	number int // of the newest wrong PIN
	stop   func() error
	lines  []string // what was seen in this round
}

// entered is the PIN that a person enters.
type entered struct {
	mu     sync.Mutex // guards digits
	digits string
}

// PIN implements client.PINSource.
func (e *entered) PIN(_ context.Context, _ client.Prompt, buf []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return copy(buf, e.digits), nil
}

// playWaits plays the same round some times and returns what was seen in each.
func playWaits(ctx context.Context, r *Run, dir string, c *clocks, rounds int) (seen [][]string, err error) {
	c.reboot()
	w := &waiting{dir: dir, clocks: c, reader: virtual.New(virtual.Options{})}
	if w.card, err = pivcard.Open(pivcard.Options{Dir: w.cardDir(), Keys: map[pivcard.Slot]pivcard.KeyType{pivcard.SlotAuthentication: pivcard.P256}}); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.card.Close()) }()
	if err := w.reader.Insert(virtual.DefaultReader, w.card); err != nil {
		return nil, err
	}
	if err := w.start(ctx); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.stop()) }()
	for range rounds {
		if err := w.round(ctx, r); err != nil {
			return nil, err
		}
		seen = append(seen, w.lines)
		w.lines = nil
	}
	return seen, w.checkLog(ctx, r)
}

func (w *waiting) cardDir() string { return filepath.Join(w.dir, "card") }

// start starts inkand and waits until it knows its card.
func (w *waiting) start(ctx context.Context) error {
	group, err := user.LookupGroupId(strconv.Itoa(os.Getgid()))
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	allow := true
	cfg := daemon.Config{StateDir: filepath.Join(w.dir, "state"), Socket: filepath.Join(w.dir, "inkan.sock"), AllowVirtual: &allow, SignerGroup: group.Name}
	cfg.PIN.TrustedAgents, cfg.Card.Idle = []string{self}, daemon.Duration(time.Hour)
	run, cancel := context.WithCancel(ctx)
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- daemon.Run(run, daemon.Options{
			Config: cfg, System: w.reader, Version: "test", Now: w.clocks.now, Boot: w.clocks.since,
			Logger: slog.New(slog.DiscardHandler), Ready: func() { close(ready) },
		})
	}()
	select {
	case <-ready:
	case err := <-ended:
		cancel()
		return fmt.Errorf("inkand did not start: %w", err)
	}
	w.client, err = client.Dial(ctx, client.Options{Socket: cfg.Socket, PIN: &w.pin, Language: "en", Comeback: -1})
	w.stop = func() error {
		if w.client != nil {
			_ = w.client.Close() // nothing runs any more
		}
		cancel()
		return <-ended
	}
	if err == nil {
		err = w.await(ctx, true)
	}
	if err != nil {
		return errors.Join(err, w.stop())
	}
	return nil
}

// await waits until inkand knows its card, or knows that it is gone.
func (w *waiting) await(ctx context.Context, card bool) error {
	ctx, cancel := context.WithTimeout(ctx, killTime)
	defer cancel()
	for u, err := range w.client.Watch(ctx) {
		if err = errors.Join(err, u.Lost); err != nil {
			return fmt.Errorf("waiting for the card: %w", err)
		}
		cards := u.Status.GetCards()
		if card == (len(cards) > 0) {
			if card {
				w.id = cards[0].GetId()
			}
			return nil
		}
	}
	return errors.New("inkand ended while it was asked for its card")
}

// round spends three tries with their waits, a re-insertion and a reboot
// between them, and gets them back by the right PIN.
func (w *waiting) round(ctx context.Context, r *Run) error {
	steps := []func() error{
		func() error { return w.enter(ctx, r, "wrong", "") },
		func() error { return w.early(ctx, r, 2*time.Second) },
		func() error { return w.enter(ctx, r, "wrong after its wait", "") },
		func() error { return w.early(ctx, r, 5*time.Second) },
		func() error { return w.enter(ctx, r, "a third one", "") },
		func() error { return w.reinsert(ctx) },
		func() error { return w.enter(ctx, r, "wrong after the insertion", "") },
		func() error { return w.early(ctx, r, 15*time.Second) },
		func() error { return w.reboot(ctx) },
		func() error { return w.early(ctx, r, 15*time.Second) },
		func() error { return w.enter(ctx, r, "right", pivcard.DemoPIN) },
		func() error { return w.reinsert(ctx) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// enter enters a PIN, "" = another wrong one, and notes what came of it.
func (w *waiting) enter(ctx context.Context, r *Run, what, pin string) error {
	if pin == "" {
		w.number++
		pin = fmt.Sprintf("7%05d", w.number%100_000)
	}
	w.pin.mu.Lock()
	w.pin.digits = pin
	w.pin.mu.Unlock()
	w.clocks.move()
	_, err := w.client.VerifyPIN(ctx, w.id)
	code := "accepted"
	if e, ok := errors.AsType[*client.Error](err); ok {
		code = e.Code
	} else if err != nil {
		return err
	}
	w.clocks.move()
	status, err := w.client.Status(ctx)
	if err != nil || len(status.GetCards()) != 1 {
		return fmt.Errorf("asking for the status: %w", errors.Join(err, errors.New("there is no card")))
	}
	pinStatus := status.GetCards()[0].GetPin()
	w.checkShown(r, pinStatus)
	w.lines = append(w.lines, fmt.Sprintf("%s: %s, %d left, wait %v", what, code, pinStatus.GetTriesLeft(), pinStatus.GetWait().AsDuration()))
	return nil
}

func (w *waiting) checkShown(r *Run, shown *inkanpb.PinStatus) {
	truth, err := pivcard.ReadTruth(w.cardDir())
	if err != nil || int(shown.GetTriesLeft()) > truth.PINLeft {
		r.Broken(I2, "%d tries are shown, the card has %d (%v)", shown.GetTriesLeft(), truth.PINLeft, err)
	}
}

// early tries again a moment before a wait is over, and lets it pass.
func (w *waiting) early(ctx context.Context, r *Run, wait time.Duration) error {
	const moment = time.Millisecond
	w.clocks.pass(wait - moment)
	err := w.enter(ctx, r, "too early", "")
	w.clocks.pass(moment)
	return err
}

// reinsert takes the card out and puts it in again, as a person does.
func (w *waiting) reinsert(ctx context.Context) error {
	w.clocks.pass(time.Minute)
	if err := errors.Join(w.reader.Remove(virtual.DefaultReader), w.await(ctx, false)); err != nil {
		return err
	}
	w.clocks.pass(time.Minute)
	return errors.Join(w.reader.Insert(virtual.DefaultReader, w.card), w.await(ctx, true))
}

// reboot starts inkand anew in another boot of the PC.
func (w *waiting) reboot(ctx context.Context) error {
	if err := w.stop(); err != nil {
		return err
	}
	w.clocks.move()
	w.clocks.reboot()
	return w.start(ctx)
}

// checkLog checks the chain of the log, whatever its times are.
func (w *waiting) checkLog(ctx context.Context, r *Run) (err error) {
	db, err := store.Open(ctx, store.Config{Dir: filepath.Join(w.dir, "state"), ReadOnly: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	log, err := audit.Open(ctx, audit.Config{Storage: db.Audit(), Now: time.Now})
	if err == nil {
		err = log.Check(ctx)
	}
	if err != nil {
		r.Broken(I5, "after jumps of the clock: %v", err)
	}
	return nil
}
