package virtual

import (
	"bytes"
	"context"
	"fmt"
	"sync"

	"github.com/inkan-project/inkan/pcsc"
	"github.com/inkan-project/inkan/pcsc/apdu"
)

// insertion is one stay of a card in a reader.
type insertion struct {
	card      Card
	atr       []byte
	connected bool          // guarded by System.mu
	gone      chan struct{} // closed when the card is pulled
	turn      chan struct{} // holds one token: who has it talks to the card
	resetDue  chan struct{} // holds a token when the card must be reset first
}

func newInsertion(card Card) *insertion {
	i := &insertion{
		card: card, atr: card.ATR(), gone: make(chan struct{}),
		turn: make(chan struct{}, 1), resetDue: make(chan struct{}, 1),
	}
	i.turn <- struct{}{}
	return i
}

// acquire waits for the card to be free: a command that ran out of time may
// still keep it. Nothing was sent when it returns an error.
func (i *insertion) acquire(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case <-i.gone:
		return pcsc.ErrRemoved
	default:
	}
	select {
	case <-i.turn:
	case <-i.gone:
		return pcsc.ErrRemoved
	case <-ctx.Done():
		return ctx.Err()
	}
	i.resetIfDue()
	return nil
}

func (i *insertion) release() {
	i.resetIfDue()
	i.turn <- struct{}{}
}

// resetIfDue is called by whoever has the turn.
func (i *insertion) resetIfDue() {
	select {
	case <-i.resetDue:
		i.card.Reset()
	default:
	}
}

// resetSoon resets the card now, or when the command under way has ended.
func (i *insertion) resetSoon() {
	select {
	case i.resetDue <- struct{}{}:
	default: // is due already
	}
	select {
	case <-i.turn:
		i.release()
	default: // who has the turn resets
	}
}

// connection implements [pcsc.Card].
type connection struct {
	system    *System
	reader    string
	insertion *insertion
	closeOnce sync.Once
	closed    chan struct{}
}

// ATR implements [pcsc.Card].
func (c *connection) ATR() []byte { return bytes.Clone(c.insertion.atr) }

// Transmit implements [pcsc.Card]. The card gets a copy of the command, which
// is cleared as soon as the card has acted: a card may still be reading when
// ctx ends, and by then the caller may have given the page of a PIN back.
func (c *connection) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	if err := c.acquire(ctx); err != nil {
		return nil, fmt.Errorf("transmitting to %s: %w", c.reader, err)
	}
	own := bytes.Clone(command)
	done := make(chan outcome, 1) // has room: nobody may be waiting any more
	go func() {
		o := c.run(own)
		clear(own)
		c.insertion.release()
		done <- o
	}()
	select {
	case o := <-done:
		return o.answer, o.err
	case <-c.insertion.gone:
		return nil, c.pulled()
	case <-ctx.Done():
	}
	select {
	case o := <-done: // an answer that is there is never thrown away
		return o.answer, o.err
	default:
		return nil, fmt.Errorf("transmitting to %s: %w: %w", c.reader, pcsc.ErrTimeout, ctx.Err())
	}
}

func (c *connection) pulled() error {
	return fmt.Errorf("transmitting to %s: card was pulled: %w", c.reader, pcsc.ErrNoAnswer)
}

func (c *connection) isGone() bool {
	select {
	case <-c.insertion.gone:
		return true
	default:
		return false
	}
}

type outcome struct {
	answer []byte
	err    error
}

// run lets the card act, and turns a panic of the card into an error without
// quoting it: it could hold the command.
func (c *connection) run(command []byte) (o outcome) {
	defer func() {
		if p := recover(); p != nil {
			o = outcome{err: fmt.Errorf("transmitting to %s: card panicked with a %T: %w", c.reader, p, pcsc.ErrNoAnswer)}
		}
	}()
	if before := c.system.options.Before; before != nil {
		if err := before(c.reader, command); err != nil {
			return outcome{err: err}
		}
	}
	if c.isGone() {
		return outcome{err: c.pulled()}
	}
	answer := c.insertion.card.Transmit(command)
	if after := c.system.options.After; after != nil {
		if err := after(c.reader, command, answer); err != nil {
			return outcome{err: err}
		}
	}
	if c.isGone() {
		return outcome{err: c.pulled()}
	}
	if len(answer) < 2 || len(answer) > apdu.MaxResponse {
		return outcome{err: fmt.Errorf("transmitting to %s: %d bytes came: %w", c.reader, len(answer), pcsc.ErrNoAnswer)}
	}
	return outcome{answer: bytes.Clone(answer)}
}

// Reset implements [pcsc.Card].
func (c *connection) Reset(ctx context.Context) error {
	if err := c.acquire(ctx); err != nil {
		return fmt.Errorf("resetting card in %s: %w", c.reader, err)
	}
	defer c.insertion.release()
	c.insertion.card.Reset()
	return nil
}

// Disconnect implements [pcsc.Card]. It never waits for the card; a second
// call does nothing.
func (c *connection) Disconnect(d pcsc.Disposition) error {
	c.closeOnce.Do(func() {
		close(c.closed)
		if d == pcsc.Reset {
			c.insertion.resetSoon()
		}
		c.system.mu.Lock()
		defer c.system.mu.Unlock()
		c.insertion.connected = false
	})
	return nil
}

func (c *connection) acquire(ctx context.Context) error {
	select {
	case <-c.closed:
		return fmt.Errorf("%w: %w", pcsc.ErrRemoved, errLetGo)
	default:
	}
	return c.insertion.acquire(ctx)
}
