package pcsc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/ebfe/scard"
)

// pnp is the name under which pcscd tells of new readers (pcsclite: "\\?PnP?\
// Notification" in SCardGetStatusChange).
const pnp = `\\?PnP?\Notification`

const (
	// longestLook is how long we trust pcscd to tell of a change by itself.
	longestLook = 10 * time.Second
	// cancelPause is between two attempts to end a wait: one that comes before
	// the wait began is lost.
	cancelPause = 5 * time.Millisecond
	// cancelPatience is how long a wait may take to hear that it is over.
	cancelPatience = 2 * time.Second
	// eventsShift is the place of the count of insertions and removals in a state
	// (pcsclite 1.9.9 winscard_clnt.c, SCardGetStatusChange: upper 16 bits).
	eventsShift = 16
)

// watch is the context that sees readers; no APDU goes over it, for a context
// is one lock. It belongs to whoever has the token of the Service.
type watch struct {
	context *scard.Context
	epoch   uint32 // contexts so far: counts of another pcscd start again at 0
	states  []scard.ReaderState
	behind  atomic.Int32 // calls that have not returned: the binding takes one at a time

	refusals int // in a row
}

var errWatchStuck = fmt.Errorf("pcscd does not answer: %w", ErrNoService)

// graced gives a quick call time to return by itself after ctx has ended:
// leaving it behind would cost the context.
func graced(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	quick, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(cancelPatience, cancel) })
	return quick, func() {
		stop()
		cancel()
	}
}

// look asks for the readers as they are, and connects to pcscd where needed.
// After an error it has forgotten the context; old says that this one was not
// made just now.
func (w *watch) look(ctx context.Context, c *calls) (now []ReaderState, old bool, err error) {
	if w.behind.Load() > 0 {
		return nil, false, errWatchStuck
	}
	var (
		opened = w.context
		states []scard.ReaderState
	)
	old = opened != nil
	err = w.do(ctx, c, func() (err error) {
		if opened == nil {
			if opened, err = scard.EstablishContext(); err != nil {
				return fmt.Errorf("connecting to pcscd: %w", explain(err))
			}
		}
		states, err = readers(opened)
		return err
	}, func() error {
		if opened == nil {
			return nil
		}
		return opened.Release()
	})
	if errors.Is(err, errLeftBehind) {
		w.context, w.states = nil, nil // the call that is left behind still uses it
		return nil, false, err
	}
	if opened != w.context {
		w.context = opened
		w.epoch++
	}
	if err != nil {
		w.drop()
		return nil, old, err
	}
	w.states = states
	return w.translate(states), old, nil
}

// do makes a call that nobody may overtake.
func (w *watch) do(ctx context.Context, c *calls, f func() error, late func() error) error {
	w.behind.Add(1)
	err := c.do(ctx, f, func() {
		_ = contained(late)
		w.behind.Add(-1)
	})
	if !errors.Is(err, errLeftBehind) {
		w.behind.Add(-1)
	}
	return err
}

// readers lists the readers and their states.
func readers(ctx *scard.Context) ([]scard.ReaderState, error) {
	names, err := ctx.ListReaders()
	if errors.Is(err, scard.ErrNoReadersAvailable) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing readers: %w", explain(err))
	}
	states := make([]scard.ReaderState, len(names))
	for i, name := range names {
		states[i].Reader = name
	}
	if len(states) == 0 {
		return nil, nil
	}
	if err := ctx.GetStatusChange(states, 0); err != nil {
		return nil, fmt.Errorf("looking into readers: %w", explain(err))
	}
	return states, nil
}

func (w *watch) translate(states []scard.ReaderState) []ReaderState {
	now := make([]ReaderState, 0, len(states))
	for _, s := range states {
		r := ReaderState{Name: s.Reader, Insertion: w.epoch<<eventsShift | uint32(s.EventState)>>eventsShift, Epoch: w.epoch}
		if s.EventState&scard.StatePresent != 0 {
			r.Present, r.ATR = true, slices.Clone(s.Atr)
		}
		now = append(now, r)
	}
	slices.SortFunc(now, func(a, b ReaderState) int { return cmp.Compare(a.Name, b.Name) })
	return now
}

// block waits until pcscd tells of a change, for some time or until ctx ends.
// What happened is for look to find out, also after an error; then block
// returns false, and must not be called again at once.
func (w *watch) block(ctx context.Context, c *calls) bool {
	states := make([]scard.ReaderState, 0, len(w.states)+1)
	for _, s := range w.states {
		states = append(states, scard.ReaderState{Reader: s.Reader, CurrentState: s.EventState &^ scard.StateChanged})
	}
	states = append(states, scard.ReaderState{Reader: pnp, CurrentState: scard.StateFlag(len(w.states) << eventsShift)})

	opened := w.context
	// pcscd ends the wait itself after longestLook; one that hangs does not.
	patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), longestLook+cancelPatience)
	defer cancel()
	ended := make(chan struct{})
	defer close(ended)
	defer context.AfterFunc(ctx, func() {
		interrupt(opened, ended)
		cancel()
	})()
	err := w.do(patience, c, func() error { return opened.GetStatusChange(states, longestLook) }, opened.Release)
	if errors.Is(err, errLeftBehind) {
		w.context, w.states = nil, nil
	}
	return err == nil || errors.Is(err, scard.ErrTimeout)
}

// interrupt ends the wait of a context. It returns when that has ended, or
// when patience is over.
func interrupt(waiting *scard.Context, ended <-chan struct{}) {
	heard := make(chan struct{})
	go func() { // Cancel itself may block: it asks pcscd
		defer close(heard)
		for range cancelPatience / cancelPause {
			_ = contained(func() error { return waiting.Cancel() })
			select {
			case <-ended:
				return
			case <-time.After(cancelPause):
			}
		}
	}()
	select {
	case <-heard:
	case <-ended:
	case <-time.After(cancelPatience):
	}
}

// drop forgets the context. Releasing one of a pcscd that is gone fails, and
// frees what is on our side all the same.
func (w *watch) drop() {
	if w.context == nil {
		return
	}
	opened := w.context
	w.context, w.states = nil, nil
	go func() { _ = contained(opened.Release) }()
}
