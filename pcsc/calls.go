package pcsc

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
)

// MaxStuck is how many calls that never return are borne. Each costs a thread
// of the operating system, for nothing can end it but its reader or pcscd.
const MaxStuck = 4

// errLeftBehind means that a call was begun and has not returned in time.
var errLeftBehind = errors.New("call into the PC/SC library has not returned")

// calls makes the calls into libpcsclite: it bounds their time and contains
// their panics.
type calls struct {
	stuck func(error) // told once, when too many have not returned

	mu   sync.Mutex // guards the fields that follow
	left int        // calls that have not returned
	told bool
}

// States of one call.
const (
	callWaiting int32 = iota // no byte has left
	callBegun
	callGivenUp
)

// do runs f in a goroutine of its own and returns its error. When ctx ends
// before f has begun, f never runs and the error is that of ctx. When it ends
// later, do returns an error that wraps errLeftBehind, f is left behind, and
// late is called when f has returned at last; f's results must not be touched.
func (c *calls) do(ctx context.Context, f func() error, late func()) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var state atomic.Int32
	done := make(chan error)
	abandoned := make(chan struct{})
	go func() {
		if !state.CompareAndSwap(callWaiting, callBegun) {
			return
		}
		err := contained(f)
		select {
		case done <- err:
		case <-abandoned:
			late()
			c.returned()
		}
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	if state.CompareAndSwap(callWaiting, callGivenUp) {
		return ctx.Err()
	}
	select {
	case err := <-done: // what came in the same moment is never thrown away
		return err
	default:
	}
	c.leave()
	close(abandoned)
	return fmt.Errorf("%w: %w", errLeftBehind, ctx.Err())
}

// leave counts a call that is left behind.
func (c *calls) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left++
	if c.left <= MaxStuck || c.told {
		return
	}
	c.told = true
	if c.stuck != nil {
		go c.stuck(fmt.Errorf("%d calls at once, at most %d are borne: %w", c.left, MaxStuck, errLeftBehind))
	}
}

func (c *calls) returned() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left--
}

// contained turns a panic of the binding into an error without quoting it: it
// could hold the command.
func contained(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the PC/SC binding panicked with a %T: %w", p, ErrFault)
		}
	}()
	return f()
}
