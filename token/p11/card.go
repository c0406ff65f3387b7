package p11

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/inkan-project/inkan/pcsc"
	"github.com/inkan-project/inkan/token"
	"github.com/inkan-project/inkan/token/p11/frame"
)

// endTime is how long a module may take to let go of a card.
const endTime = 2 * time.Second

// takeBackTime is how long another program may keep a card from us that a module
// had.
const takeBackTime = 5 * time.Second

// takeBackStep is how often a card is asked for that the module's process had:
// pcscd may still be tidying up after it.
const takeBackStep = 10 * time.Millisecond

// Card is a connection to a card that can change hands: PC/SC has it, or a
// module. It implements [pcsc.Card].
type Card struct {
	system *System
	reader string

	direct pcsc.Card // the connection through PC/SC; nil while a module has it, or where there is none
	atr    []byte
	slotOf *slotRef // a slot that is a reader of its own; nil for a reader of PC/SC

	child  *child // the process that has the card, or nil
	module *Module
	slot   uint
	open   bool // child has a session
}

// isDirect reports whether PC/SC has the card.
func (c *Card) isDirect() bool { return c.direct != nil }

// Slot returns the module whose slot this is, nil for a reader of PC/SC.
func (c *Card) Slot() *Module {
	if c.slotOf == nil {
		return nil
	}
	return c.slotOf.module
}

// ATR implements [pcsc.Card]; a slot of a module has none.
func (c *Card) ATR() []byte { return c.atr }

// Transmit implements [pcsc.Card]. While a module has the card nothing is sent.
func (c *Card) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	if c.direct == nil {
		return nil, fmt.Errorf("transmitting to %s: a PKCS#11 module has the card: nothing was sent: %w", c.reader, pcsc.ErrFault)
	}
	return c.direct.Transmit(ctx, command)
}

// Reset implements [pcsc.Card]: the login ends. A card of PC/SC is taken back
// from the module and reset.
func (c *Card) Reset(ctx context.Context) error {
	if c.slotOf != nil {
		return c.closeSession(ctx)
	}
	if err := c.takeBack(ctx); err != nil {
		return err
	}
	return c.direct.Reset(ctx)
}

// closeSession ends login and session. A module that cannot is ended, which
// ends both.
func (c *Card) closeSession(ctx context.Context) error {
	if c.child == nil || !c.open {
		return nil
	}
	c.open = false
	ctx, cancel := context.WithTimeout(ctx, endTime)
	defer cancel()
	ctx, stop := c.system.patient(ctx, c.module)
	defer stop()
	answer, err := c.child.call(ctx, frame.Request{Op: frame.OpClose})
	if err == nil && answer.OK() {
		c.system.worked(c.module, c.reader)
		return nil
	}
	c.drop(err)
	return nil
}

// drop ends the module's process; because is why, nil where it only is in the
// way.
func (c *Card) drop(because error) {
	if c.child == nil {
		return
	}
	if because != nil {
		c.system.failed(c.module, c.reader, because)
	}
	c.child.kill()
	c.leave(context.Background())
}

// leave ends the process in order and forgets it.
func (c *Card) leave(ctx context.Context) {
	if c.child == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, endTime)
	defer cancel()
	c.child.close(ctx)
	c.child, c.open = nil, false
}

// takeBack has PC/SC take the card again.
func (c *Card) takeBack(ctx context.Context) error {
	if c.direct != nil {
		return nil
	}
	c.leave(ctx)
	ctx, cancel := context.WithTimeout(ctx, takeBackTime)
	defer cancel()
	shared := false
	tick := time.NewTicker(takeBackStep)
	defer tick.Stop()
	for {
		card, err := c.system.inner.Connect(ctx, c.reader)
		if err == nil {
			c.direct, c.atr = card, card.ATR()
			return nil
		}
		if !errors.Is(err, pcsc.ErrSharing) {
			return fmt.Errorf("taking the card in %s back from module %s: %w", c.reader, c.module.Name, err)
		}
		if !shared { // a login that the module left behind must not be theirs
			shared = true
			err = errors.Join(err, c.system.resetShared(ctx, c.reader))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("taking the card in %s back from module %s: %w", c.reader, c.module.Name, err)
		}
	}
}

// Disconnect implements [pcsc.Card].
func (c *Card) Disconnect(d pcsc.Disposition) error {
	if c.slotOf != nil {
		c.leave(context.Background())
		return nil
	}
	if d == pcsc.Reset && c.direct == nil {
		ctx, cancel := context.WithTimeout(context.Background(), takeBackTime)
		defer cancel()
		if err := c.takeBack(ctx); err != nil {
			return err
		}
	}
	c.leave(context.Background())
	if c.direct == nil {
		return nil
	}
	card := c.direct
	c.direct = nil
	return card.Disconnect(d)
}

// enter gives the card to the module, unless it has it, and returns its slot.
// [token.ErrNotMine] means that the module has no token there.
func (c *Card) enter(ctx context.Context, m *Module) (slot uint, err error) {
	if c.child != nil && (c.module != m || c.child.dead != nil) {
		c.leave(ctx)
	}
	if c.open {
		if err := c.closeSession(ctx); err != nil {
			return 0, err
		}
	}
	if c.direct != nil {
		// From here on, whatever happens, the card comes back by takeBack.
		card := c.direct
		c.direct, c.module = nil, m
		if err := card.Disconnect(pcsc.Reset); err != nil {
			return 0, fmt.Errorf("giving the card in %s to module %s: %w", c.reader, m.Name, err)
		}
	}
	if c.child == nil {
		c.module = m
		if c.child, err = c.system.launch(ctx, m, c.reader); err != nil {
			return 0, err
		}
	}
	if c.slotOf != nil {
		c.slot = c.slotOf.id
		return c.slot, nil
	}
	c.slot, err = c.findSlot(ctx)
	return c.slot, err
}

// findSlot finds the module's slot for this reader.
func (c *Card) findSlot(ctx context.Context) (uint, error) {
	answer, err := c.child.call(ctx, frame.Request{Op: frame.OpSlots})
	if err != nil {
		c.drop(err)
		return 0, broken(c.module.Name, err)
	}
	if n := c.system.namesakes(c.reader); n > 1 {
		return 0, token.NewError(token.KindTokenAmbiguous, "module", c.module.Name, "count", fmt.Sprint(n))
	}
	found, err := pick(answer.Slots, c.module, c.reader, c.system.cards())
	if err != nil {
		return 0, err
	}
	return found.ID, nil
}

// pick returns the one slot with a token of the module in a reader. A slot is
// named after its reader (PKCS#11 v3.1 section 3.2, slotDescription, 64 bytes
// at most); a module with other names is understood where there is one token
// and one card.
func pick(slots []frame.Slot, m *Module, reader string, cards int) (frame.Slot, error) {
	var here, all []frame.Slot
	for _, s := range slots {
		if s.Token == nil || s.Token.Flags&flagInitialized == 0 || !m.Token.fits(s.Token) {
			continue
		}
		all = append(all, s)
		if isNamed(s.Description, reader) {
			here = append(here, s)
		}
	}
	named := false
	for _, s := range slots {
		named = named || isNamed(s.Description, reader)
	}
	if !named && len(all) == 1 && cards == 1 {
		here = all
	}
	switch len(here) {
	case 0:
		return frame.Slot{}, fmt.Errorf("module %s: %w", m.Name, token.ErrNotMine)
	case 1:
		return here[0], nil
	}
	return frame.Slot{}, token.NewError(token.KindTokenAmbiguous, "module", m.Name, "count", fmt.Sprint(len(here)))
}

// maxDescription is the length of slotDescription, in bytes.
const maxDescription = 64

func isNamed(description, reader string) bool {
	return description != "" && description == described(reader)
}

// described returns what a slot of a reader is called.
func described(reader string) string { return clean(reader[:min(len(reader), maxDescription)]) }

// ask asks the module in the session that is open.
func (c *Card) ask(ctx context.Context, req frame.Request, secrets ...*token.PIN) (frame.Answer, error) {
	if c.child == nil {
		return frame.Answer{}, errNotIdentified
	}
	if req.Op == frame.OpOpen {
		c.open = true // whatever comes of it
	}
	answer, err := c.child.call(ctx, req, secrets...)
	if err != nil {
		c.drop(err)
		return answer, err
	}
	if answer.RV == ckrUserAlreadyLoggedIn || answer.RV == ckrUserAnotherLoggedIn {
		c.drop(nil) // somebody else's login must not be used
	}
	return answer, nil
}
