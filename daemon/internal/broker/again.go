package broker

import (
	"context"
	"errors"

	"github.com/inkan-project/inkan/daemon/internal/audit"
	"github.com/inkan-project/inkan/daemon/internal/cardowner"
	"github.com/inkan-project/inkan/daemon/internal/pinguard"
	"github.com/inkan-project/inkan/token"
)

// proveAgain sends the secret a second time where the key wants it for each use
// and says so only once the use has begun. That is a try of its own: the
// verdict of the first is durable, and the second try spent, in one barrier
// before it is sent. It returns the attempt that is still open and its verdict.
func (op *operation) proveAgain(ctx context.Context, lease cardowner.Lease, first *token.Attempt, right token.Verdict) (*token.Attempt, token.Verdict, error) {
	tok, ok := lease.Token.(token.Beginner)
	if !ok || op.begin == nil {
		return first, right, nil
	}
	if err := op.b.stops.check(op.id()); err != nil {
		return first, right, err
	}
	again, err := op.begin(ctx, tok)
	if err != nil || !again {
		return first, right, err
	}
	if err := op.caller.check(); err != nil {
		return first, right, err
	}
	open, second, err := op.debitAgain(first, right)
	if !second {
		return open, right, err
	}
	verdict, err := op.proveBy(ctx, lease, open, func(ctx context.Context, _ cardowner.Lease, e *entry, attempt *token.Attempt) (token.Verdict, error) {
		return tok.VerifyAgain(ctx, e.first, attempt)
	})
	return open, verdict, err
}

// debitAgain settles the first try and spends the second, and returns the one
// that is open afterwards, if any; second reports that it is the second, which
// may be redeemed.
func (op *operation) debitAgain(first *token.Attempt, right token.Verdict) (open *token.Attempt, second bool, err error) {
	guard := op.b.cfg.Guard
	rec := op.record
	rec.Kind, rec.Operation, rec.Request = audit.KindEvent, "verify-again", nil
	rec.Detail = "the PIN was right; the key wants it again for this signature"
	open = first
	_, err = op.b.ledger.barrier(rec, func(mark pinguard.AuditMark) error {
		if first != nil { // nil: it is settled
			if err := guard.Settle(first, right, mark); err != nil {
				return err
			}
		}
		open = nil
		again, err := guard.Debit(op.account(token.Tries{}), op.entered.who, mark)
		if err == nil {
			open = again
		}
		return err
	})
	switch {
	case err == nil:
		return open, true, nil
	case open != nil && open != first: // the record is missing: it is not used
		return nil, false, errors.Join(err, op.b.ledger.abandon(open))
	}
	return open, false, err
}
