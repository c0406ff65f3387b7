package house

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/inkan-project/inkan/client"
	"github.com/inkan-project/inkan/pcsc/virtual/pivcard"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// serveTime is how soon inkand must serve again (I10).
const serveTime = 2 * time.Second

// Comeback is a start after a fault, and what was found by then.
type Comeback struct {
	*Process
	Findings Findings
	Card     *inkanpb.CardStatus // as it was shown first
}

// Return starts inkand after its end, whatever it was, and checks everything
// before anybody calls. A process that could not come back is a finding, and
// then Process has ended.
func (h *House) Return(ctx context.Context, binary string) (c Comeback, err error) {
	found, err := h.look()
	if err != nil {
		return c, err
	}
	var image []byte // of a journal that will be replaced
	if found.Unreadable > 0 {
		if image, err = os.ReadFile(filepath.Join(h.State(), "pin-tries.journal")); err != nil {
			return c, err
		}
	}
	if c.Process, err = h.startSoon(ctx, binary, &c.Findings); err != nil {
		return c, err
	}
	if c.Ready == 0 {
		c.Findings.add(8, "inkand did not come back, exit code %d: %s", c.ExitCode(), c.Said())
		return c, nil
	}
	if image != nil {
		h.checkKept(image, &c.Findings)
	}
	if err := h.settleJournal(); err != nil {
		return c, err
	}
	if err := h.checkShown(ctx, &c); err != nil {
		return c, err
	}
	b, err := h.Books(ctx)
	if err != nil {
		return c, err
	}
	c.Findings = append(c.Findings, h.audit(b)...)
	return c, nil
}

// startSoon starts inkand, again where it took longer than it may: only the
// best of three counts, and only on a machine with time to spare.
func (h *House) startSoon(ctx context.Context, binary string, f *Findings) (p *Process, err error) {
	const attempts = 3
	for range attempts {
		if p, err = h.Start(ctx, binary); err != nil || p.Ready <= serveTime {
			return p, err
		}
		if starved() {
			return p, nil
		}
		p.Kill()
	}
	f.add(10, "it took %v to serve again", p.Ready)
	return h.Start(ctx, binary)
}

// starved reports whether programs had to wait for a processor or a disk for
// more than a tenth of the last ten seconds. A kernel that does not say
// (Documentation/accounting/psi.rst) starves nobody.
func starved() bool {
	const most = 10 // percent
	for _, of := range []string{"cpu", "io"} {
		text, err := os.ReadFile("/proc/pressure/" + of)
		var percent float64
		if err != nil {
			continue
		}
		if _, err := fmt.Sscanf(string(text), "some avg10=%f", &percent); err == nil && percent > most {
			return true
		}
	}
	return false
}

// checkKept looks for the copy of a journal with unreadable slots.
func (h *House) checkKept(image []byte, f *Findings) {
	names, _ := filepath.Glob(filepath.Join(h.State(), "pin-tries.journal.corrupt-*")) // the pattern is right
	for _, name := range names {
		if kept, err := os.ReadFile(name); err == nil && bytes.Equal(kept, image) {
			return
		}
	}
	f.add(8, "a journal with unreadable slots was replaced and not kept as it was")
}

// checkShown holds what is shown against what is true: I2, I6 and I9.
func (h *House) checkShown(ctx context.Context, c *Comeback) error {
	v, err := h.Visit(ctx)
	if err != nil {
		return fmt.Errorf("visiting: %w", err)
	}
	defer v.Close()
	if c.Card, _, err = v.Status(ctx); err != nil {
		return fmt.Errorf("asking for the status: %w", err)
	}
	truth, err := h.Truth()
	if err != nil {
		return err
	}
	h.shown(c.Card, truth, &c.Findings)
	return nil
}

func (h *House) shown(card *inkanpb.CardStatus, truth pivcard.Truth, f *Findings) {
	h.mu.Lock()
	defer h.mu.Unlock()
	// A card that does not say its count may have been used elsewhere: then
	// what is shown is "at most".
	most := truth.PINLeft
	if !card.GetPin().GetTriesKnown() {
		most = min(most+h.elsewhere, pivcard.Tries)
	}
	if shown := int(card.GetPin().GetTriesLeft()); shown > most {
		f.add(2, "%d tries of the PIN are shown, there are %d", shown, most)
	}
	if shown := int(card.GetUnlockCode().GetTriesLeft()); shown > truth.UnlockLeft {
		f.add(2, "%d tries of the unlock code are shown, there are %d", shown, truth.UnlockLeft)
	}
	stopped := card.GetState() == inkanpb.CardState_CARD_STATE_STOPPED_HERE
	switch {
	case h.stop == yes && !stopped:
		f.add(6, "a stop that was acknowledged is gone, the card is %v", card.GetState())
	case h.stop == no && stopped:
		f.add(9, "the card is stopped, although nobody stopped it or a lift was acknowledged")
	}
	h.stop = no
	if stopped {
		h.stop = yes
	}
	const silences = 3 // in a row hold a card
	if card.GetState() == inkanpb.CardState_CARD_STATE_HELD && h.doubts < silences && !h.crowd && !h.copied {
		f.add(9, "the card is held after %d tries without a verdict since it was acknowledged or right", h.doubts)
	}
}

// Use signs once, as somebody would who comes next, and checks that it goes as
// it must. The first PIN that is right is the card's.
func (h *House) Use(ctx context.Context, card *inkanpb.CardStatus) (f Findings, err error) {
	v, err := h.Visit(ctx)
	if err != nil {
		return nil, fmt.Errorf("visiting: %w", err)
	}
	defer v.Close()
	h.mu.Lock()
	stopped := h.stop == yes
	h.mu.Unlock()
	if stopped {
		for _, slot := range []string{"9a", noPIN} {
			if err := v.Sign(ctx, slot, h.PINs()[0]); !errors.Is(err, client.ErrCardStoppedHere) {
				f.add(6, "a signature of a stopped card with %s ended with: %v", slot, err)
			}
		}
		return f, nil
	}
	for _, pin := range h.PINs() {
		err := v.Sign(ctx, "9a", pin)
		if h.renewable(err) {
			// The crash came before it was known that the card took an unlock code.
			pins := h.PINs()
			pin = pins[len(pins)-1]
			if err = v.Unlock(ctx, pivcard.DemoUnlockCode, pin); err == nil {
				err = v.Sign(ctx, "9a", pin)
			}
		}
		switch {
		case h.wrong(err):
			continue
		case err == nil:
			h.mu.Lock()
			h.pins = []string{pin}
			h.mu.Unlock()
		case !h.excused(card, err):
			f.add(9, "the next signature ended with: %v", err)
		}
		return f, nil
	}
	f.add(9, "the card takes none of the PINs that it may have")
	return f, nil
}

// UseNow is Use where inkand runs already.
func (h *House) UseNow(ctx context.Context) (Findings, error) {
	v, err := h.Visit(ctx)
	if err != nil {
		return nil, fmt.Errorf("visiting: %w", err)
	}
	defer v.Close()
	card, _, err := v.Status(ctx)
	if err != nil {
		return nil, err
	}
	return h.Use(ctx, card)
}

// wrong reports whether the card called a PIN wrong, in whatever word.
func (h *House) wrong(err error) bool {
	return errors.Is(err, client.ErrPINWrong) || errors.Is(err, client.ErrPINNoVerdict) && !h.silent
}

// renewable reports whether the card may have a new PIN, while the journal,
// which never gives back what only the card says, has it locked.
func (h *House) renewable(err error) bool {
	truth, unread := h.Truth()
	return errors.Is(err, client.ErrCardLocked) && unread == nil && truth.PINLeft > 0 && len(h.PINs()) > 1 && !h.silent
}

// excused reports whether the card may refuse like this.
func (h *House) excused(card *inkanpb.CardStatus, err error) bool {
	truth, unread := h.Truth()
	switch {
	case unread != nil:
		return false
	case errors.Is(err, client.ErrCardHeld):
		return card.GetState() == inkanpb.CardState_CARD_STATE_HELD
	case errors.Is(err, client.ErrPINNoVerdict):
		return h.silent
	case errors.Is(err, client.ErrCardLocked):
		return truth.PINLeft == 0 || card.GetState() == inkanpb.CardState_CARD_STATE_LOCKED && h.silent
	}
	return false
}

// Free makes a card usable that a crash left held, locked or stopped: for those
// who go on with it.
func (h *House) Free(ctx context.Context, c *Comeback) error {
	v, err := h.Visit(ctx)
	if err != nil {
		return err
	}
	defer v.Close()
	for c.Card.GetState() != inkanpb.CardState_CARD_STATE_READY && c.Card.GetState() != inkanpb.CardState_CARD_STATE_LOW && err == nil {
		was := c.Card.GetState()
		switch was {
		case inkanpb.CardState_CARD_STATE_STOPPED_HERE:
			err = v.Lift(ctx)
		case inkanpb.CardState_CARD_STATE_HELD:
			err = v.Acknowledge(ctx, "checked")
		default:
			err = v.Unlock(ctx, pivcard.DemoUnlockCode, h.PINs()[0])
		}
		if err == nil {
			c.Card, _, err = v.Status(ctx)
		}
		if err == nil && c.Card.GetState() == was {
			c.Findings.add(9, "the card stays %v whatever is done", was)
			return nil
		}
	}
	return err
}

// Leave stops inkand in order and checks the books once more.
func (h *House) Leave(ctx context.Context, c *Comeback) error {
	if _, err := h.look(); err != nil {
		return err
	}
	b, err := h.Books(ctx)
	if err != nil {
		return err
	}
	c.Findings = append(c.Findings, h.audit(b)...)
	if code := c.Stop(ctx); code != 0 {
		c.Findings.add(8, "an orderly stop ended with exit code %d: %s", code, c.Said())
	}
	return nil
}
