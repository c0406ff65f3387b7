package pcsc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"
)

// maxAnswer is the longest response APDU: 65536 bytes and a status word
// (ISO/IEC 7816-4 section 5.2).
const maxAnswer = 1<<16 + 2

// releaseTimeout bounds letting a card go, for which callers set no time.
const releaseTimeout = 5 * time.Second

// card is an exclusive connection with a context of its own: a context is one
// lock, and a card that does not answer would keep it.
type card struct {
	service *Service
	reader  string
	handle  *handle // nil after Disconnect, or when a call has not returned
	atr     []byte
	dead    error // why nothing may be sent any more, or nil
}

// Connect implements [System]. It takes the card exclusively and in a
// transaction. Errors are those of the package and of ctx.
func (s *Service) Connect(ctx context.Context, reader string) (Card, error) {
	c := &card{service: s, reader: reader}
	err := c.take(ctx, func() (*handle, error) { return connect(reader, &s.peeking) })
	if err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", reader, err)
	}
	return c, nil
}

// take gets a handle by f, which may be left behind.
func (c *card) take(ctx context.Context, f func() (*handle, error)) error {
	if c.service.isStuck(c.reader) {
		return fmt.Errorf("an earlier call has not returned: %w", ErrTimeout)
	}
	var h *handle
	err := c.do(ctx, func() (err error) {
		h, err = f()
		return err
	}, func() { _ = h.release(Reset) })
	if err != nil {
		return explain(err)
	}
	c.handle, c.atr, c.dead = h, h.atr, nil
	return nil
}

// do makes a call about the card within its time. When it does not return in
// time, the connection is given up, and the reader with it until it has.
func (c *card) do(ctx context.Context, f func() error, late func()) error {
	ctx, cancel := context.WithTimeout(ctx, c.service.timeout)
	defer cancel()
	err := c.service.calls.do(ctx, f, func() {
		_ = contained(func() error { late(); return nil })
		c.service.countStuck(c.reader, -1)
	})
	if !errors.Is(err, errLeftBehind) {
		return err
	}
	c.service.countStuck(c.reader, +1)
	c.handle, c.dead = nil, fmt.Errorf("%w: %w", ErrTimeout, err)
	return c.dead
}

// ATR implements [Card].
func (c *card) ATR() []byte { return bytes.Clone(c.atr) }

// Transmit implements [Card]. The command goes to C where it stands; nothing
// on the way keeps a copy. After an answer that cannot be used nothing is sent
// before Reset: a card that was swapped within one poll of pcscd answers on the
// old handle, and must be identified before it sees a PIN.
func (c *card) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	if c.dead != nil {
		return nil, fmt.Errorf("transmitting to %s: nothing was sent: %w", c.reader, c.dead)
	}
	if len(command) == 0 {
		return nil, fmt.Errorf("transmitting to %s: command of no bytes: %w", c.reader, ErrFault)
	}
	h := c.handle
	var answer []byte
	err := c.do(ctx, func() error {
		err := contained(func() (err error) {
			answer, err = h.card.Transmit(command)
			return err
		})
		if err != nil {
			return explainTransmit(err)
		}
		return usable(answer)
	}, func() { _ = h.release(Reset) })
	if err == nil {
		return answer, nil
	}
	err = fmt.Errorf("transmitting to %s: %w", c.reader, err)
	if c.dead == nil && !isUnbegun(err) {
		c.dead = fmt.Errorf("%w (before: %v)", deathOf(err), err) //nolint:errorlint // what was before is told, but is not what later commands had
	}
	return nil, err
}

// deathOf is what later commands hear on a connection that had an error.
func deathOf(err error) error {
	for _, known := range []error{ErrNoService, ErrNoReader, ErrRemoved} {
		if errors.Is(err, known) {
			return known
		}
	}
	return ErrReset
}

// isUnbegun reports whether a call never began, because its context was over.
func isUnbegun(err error) bool {
	return (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) &&
		!errors.Is(err, errLeftBehind)
}

// usable refuses what cannot be a response APDU. When a card is pulled in the
// middle of its answer, pcscd reports success and gives the part it has: no
// byte, or some whose last two are seldom a status word. SW1 is 61 to 6F or 9x
// (ISO/IEC 7816-4 section 5.6).
func usable(answer []byte) error {
	n := len(answer)
	if n < 2 || n > maxAnswer {
		return fmt.Errorf("answer of %d bytes: %w", n, ErrNoAnswer)
	}
	if sw1 := answer[n-2]; sw1&0xF0 != 0x90 && (sw1&0xF0 != 0x60 || sw1 == 0x60) {
		return fmt.Errorf("answer of %d bytes without a status word: %w", n, ErrNoAnswer)
	}
	return nil
}

// Reset implements [Card]. The card is let go, reset, and taken again: another
// program may be quicker, and then it is [ErrSharing].
func (c *card) Reset(ctx context.Context) error {
	if c.handle == nil {
		return fmt.Errorf("resetting card in %s: %w", c.reader, c.dead)
	}
	h := c.handle
	err := c.take(ctx, h.again)
	if err == nil {
		return nil
	}
	if c.handle != nil && !isUnbegun(err) {
		c.dead = err
	}
	return fmt.Errorf("resetting card in %s: %w", c.reader, err)
}

// Disconnect implements [Card]. A second call does nothing. A connection whose
// call has not returned is let go when it does.
func (c *card) Disconnect(d Disposition) error {
	h := c.handle
	if h == nil {
		return nil
	}
	c.handle, c.dead = nil, fmt.Errorf("connection was let go: %w", ErrRemoved)
	ctx, cancel := context.WithTimeout(context.Background(), releaseTimeout)
	defer cancel()
	err := explain(c.do(ctx, func() error { return h.release(d) }, func() {}))
	for _, gone := range []error{ErrRemoved, ErrReset, ErrNoReader, ErrNoService} {
		if errors.Is(err, gone) {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("letting go of the card in %s: %w", c.reader, err)
	}
	return nil
}
