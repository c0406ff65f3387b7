package cardowner

import (
	"context"
	"errors"
	"time"

	"github.com/inkan-project/inkan/pcsc"
	"github.com/inkan-project/inkan/token"
)

// maxLooks is how often a card is looked at that fails in a way that may pass.
const maxLooks = 3

// again reports whether a card is worth another look: as long as somebody else
// has it, or its PKCS#11 module is not to be had, for no event tells when that
// is over; and a few times after a reset by others, a lost answer, a crash of
// its module, or a removal of which no event has told: it may have been a swap
// that pcscd did not see. What is simply no card of ours is left alone.
func (r *reader) again(err error) bool {
	r.looks++
	switch {
	case errors.Is(err, pcsc.ErrSharing), token.KindOf(err) == token.KindModuleUnavailable:
		return true
	case errors.Is(err, pcsc.ErrReset), errors.Is(err, pcsc.ErrTimeout), errors.Is(err, pcsc.ErrNoAnswer),
		errors.Is(err, pcsc.ErrRemoved), token.KindOf(err) == token.KindCardSilent, token.KindOf(err) == token.KindModuleFault,
		token.KindOf(err) == token.KindCardChanged: // while it was met
		return r.looks < maxLooks
	}
	return false
}

// pause is how long to wait before the next look: longer each time for a module
// that is not to be had, for each look takes the card from others and resets it.
func (r *reader) pause(err error) time.Duration {
	const longest = 60 // times Retry
	if token.KindOf(err) == token.KindModuleUnavailable {
		return r.owner.cfg.Retry * time.Duration(min(r.looks, longest))
	}
	return r.owner.cfg.Retry
}

// changed looks again at a card that somebody swapped.
func (r *reader) changed() {
	r.met = false
	r.update(r.now)
}

// doubt has the card checked in a while when it was lost in the middle of a
// use: pcscd often does not tell of a swap that is faster than it looks, and
// then nothing else would find the card that is in now.
func (r *reader) doubt(err error) {
	switch r.owner.fault(err).Kind {
	case token.KindCardSilent, token.KindPINNoVerdict, token.KindChangeUnknown, token.KindUnlockUnknown, token.KindCardRemoved:
	default:
		if !errors.Is(err, pcsc.ErrUnresponsive) {
			return
		}
	}
	r.looks = 0
	r.retry.Reset(r.owner.cfg.Retry)
}

// recheck sees whether it is still the same card.
func (r *reader) recheck() {
	_, err := r.lease(context.Background())
	switch {
	case token.KindOf(err) == token.KindCardChanged:
		r.changed()
		return
	case err != nil:
		r.logger.Info("Checking the card that was lost", "error", err)
		r.release() // nothing more is sent after a lost answer
		if r.again(err) || errors.Is(err, pcsc.ErrUnresponsive) && r.looks < maxLooks {
			r.retry.Reset(r.owner.cfg.Retry)
		}
	}
	_ = r.settle() // a card that cannot be reset was let go
}

// troubled shows whether the card could be used, where that is the card's or
// the reader's own matter.
func (r *reader) troubled(by *token.Error) {
	if by != nil {
		switch by.Kind {
		case token.KindReaderInUse, token.KindCardSilent, token.KindCardRemoved, token.KindReaderFault, token.KindPCSCUnavailable, token.KindPCSCDenied:
		default:
			by = nil
		}
	}
	if r.trouble == nil && by == nil {
		return
	}
	r.trouble = by
	r.publish(r.problem, false)
}
