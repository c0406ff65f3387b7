package broker

import (
	"context"
	"errors"

	"github.com/inkan-project/inkan/daemon/internal/audit"
	"github.com/inkan-project/inkan/daemon/internal/cardowner"
	"github.com/inkan-project/inkan/daemon/internal/pinguard"
	"github.com/inkan-project/inkan/daemon/internal/prompt"
	"github.com/inkan-project/inkan/token"
)

// maxPrompts bounds how often a person is asked again because the card said
// fewer tries than the prompt had shown. No try is spent by it.
const maxPrompts = 5

// errFewerTries means that the person was shown more tries than there are.
var errFewerTries = errors.New("fewer tries left than the person was shown")

// operation is one use of one card on behalf of a caller.
type operation struct {
	b      *Broker
	caller Caller
	card   cardowner.Card
	prompt prompt.Request // what the person is shown
	pin    bool           // the card wants the PIN
	record audit.Record   // what intent and result have in common
	// work is done after the PIN was accepted, or at once without one. Its
	// error is the outcome.
	work func(context.Context, cardowner.Lease) error
	done uint64 // sequence of the result record
}

// run does the operation. What it refuses before anything was recorded is
// recorded as refused.
func (op *operation) run(ctx context.Context) error {
	err := op.attempts(ctx)
	op.b.touch()
	if err != nil && op.done == 0 {
		op.refused(err)
	}
	return err
}

// attempts asks and uses the card, again only where no try was spent.
func (op *operation) attempts(ctx context.Context) error {
	for range maxPrompts {
		var pin *token.PIN
		var shown pinguard.Belief
		if op.pin {
			var err error
			if pin, shown, err = op.ask(ctx); err != nil {
				return err
			}
		}
		err := op.b.cfg.Cards.Use(ctx, op.card.Identity.Card, func(ctx context.Context, lease cardowner.Lease) error {
			return op.useCard(ctx, lease, pin, shown)
		})
		pin.Wipe()
		if !errors.Is(err, errFewerTries) {
			return err
		}
		if op.card, err = op.b.cfg.Cards.Card(op.card.Identity.Card); err != nil {
			return err
		}
	}
	return token.Errorf(token.KindReaderInUse, "others keep spending its tries")
}

// ask gets the PIN from a person or program, and checks all that can be
// checked without the card.
func (op *operation) ask(ctx context.Context) (*token.PIN, pinguard.Belief, error) {
	shown := op.belief(op.card.OnCard)
	if err := op.b.ledger.healthy(); err != nil {
		return nil, shown, err
	}
	if shown.Left == 0 {
		return nil, shown, locked()
	}
	req := op.prompt
	req.Tries, req.TriesConfirmed = token.KnownTries(shown.Left), shown.Confirmed
	answer, err := op.b.cfg.Prompter.Ask(ctx, req)
	if err != nil {
		return nil, shown, err
	}
	if err := op.admit(answer, shown); err != nil {
		answer.PIN.Wipe()
		return nil, shown, err
	}
	return answer.PIN, shown, nil
}

// admit checks who gave the PIN and what it looks like.
func (op *operation) admit(answer prompt.Answer, shown pinguard.Belief) error {
	if answer.Source != prompt.SourcePrompt && !op.b.cfg.Virtual {
		if !op.b.cfg.ProgramPINs {
			return token.Errorf(token.KindPINSourceRefused, "the configuration does not allow it")
		}
		if shown.State != token.CardReady {
			return token.Errorf(token.KindPINSourceRefused, "the last tries are kept for a person")
		}
	}
	return answer.PIN.Check(op.card.Profile.PIN)
}

// useCard is everything that happens in one use of the card.
func (op *operation) useCard(ctx context.Context, lease cardowner.Lease, pin *token.PIN, shown pinguard.Belief) error {
	if err := op.noteLower(lease.OnCard); err != nil {
		return err
	}
	if op.pin {
		now := op.belief(lease.OnCard)
		if now.Left == 0 {
			return locked()
		}
		if now.Left < shown.Left {
			return errFewerTries
		}
	}
	if err := op.caller.check(); err != nil {
		return err
	}
	intent, attempt, err := op.intend(lease.OnCard)
	if err != nil {
		return err
	}
	verdict, outcome := token.Verdict{}, error(nil)
	if op.pin {
		verdict, outcome = op.verify(ctx, lease, pin, attempt)
		pin.Wipe()
	}
	if outcome == nil {
		outcome = op.work(ctx, lease)
	}
	if outcome == nil {
		outcome = op.caller.check()
	}
	return op.conclude(intent, attempt, verdict, outcome)
}

// intend is the first barrier: the try is spent and the intent recorded before
// anything is sent to the card.
func (op *operation) intend(onCard token.Tries) (intent audit.Record, attempt *token.Attempt, err error) {
	rec := op.record
	rec.Kind = audit.KindIntent
	guard, id := op.b.cfg.Guard, op.card.Identity.Card
	intent, err = op.b.ledger.barrier(rec, func(mark pinguard.AuditMark) (err error) {
		if !op.pin {
			return guard.Mark(mark)
		}
		attempt, err = guard.Debit(id, token.SecretPIN, op.card.Profile.Limit, onCard, mark)
		return err
	})
	if err != nil && attempt != nil {
		err = errors.Join(err, op.b.ledger.abandon(attempt))
	}
	return intent, attempt, err
}

// verify sends the PIN once and says what the verdict means.
func (op *operation) verify(ctx context.Context, lease cardowner.Lease, pin *token.PIN, attempt *token.Attempt) (token.Verdict, error) {
	verdict, err := lease.Verify(ctx, pin, attempt)
	if err != nil { // nothing was sent; the try stays spent all the same
		return token.Verdict{Cause: err}, token.NewError(token.KindInternal).Because(err)
	}
	if n, known := verdict.Tries.Count(); verdict.Kind == token.VerdictWrong && known && n == 0 {
		verdict.Kind = token.VerdictBlocked
	}
	lease.Learn(verdict.Tries)
	switch verdict.Kind {
	case token.VerdictOK:
		return verdict, nil
	case token.VerdictWrong:
		return verdict, token.NewError(token.KindPINWrong)
	case token.VerdictBlocked:
		lease.Learn(token.KnownTries(0))
		if verdict.SW == 0 || verdict.SW>>8 == 0x63 { // the wrong PIN that used up the last try
			return verdict, token.NewError(token.KindPINWrong)
		}
		return verdict, locked()
	case token.VerdictNone:
	}
	return verdict, token.NewError(token.KindPINNoVerdict).Because(verdict.Cause)
}

// conclude is the second barrier: the verdict and the result are durable
// before anybody is told.
func (op *operation) conclude(intent audit.Record, attempt *token.Attempt, verdict token.Verdict, outcome error) error {
	rec := op.record
	rec.Kind, rec.Intent, rec.Outcome = audit.KindResult, intent.Sequence, audit.OutcomeOK
	if outcome != nil {
		rec.Outcome, rec.Code = audit.OutcomeFailed, string(token.KindOf(outcome))
	}
	guard := op.b.cfg.Guard
	if attempt != nil {
		after := guard.After(attempt, verdict.Kind, op.card.Profile.Limit, verdict.Tries)
		rec.Tries = token.KnownTries(after.Left)
	}
	written, err := op.b.ledger.barrier(rec, func(mark pinguard.AuditMark) error {
		if attempt == nil {
			return guard.Mark(mark)
		}
		return guard.Settle(attempt, verdict.Kind, mark)
	})
	op.done = intent.Sequence
	if err != nil {
		return err
	}
	op.done = written.Sequence
	if outcome == nil {
		return nil
	}
	if e, ok := errors.AsType[*token.Error](outcome); ok && attempt != nil {
		return e.WithTries(rec.Tries)
	}
	return outcome
}

// belief returns the tries left, given what the card says.
func (op *operation) belief(onCard token.Tries) pinguard.Belief {
	return op.b.cfg.Guard.Belief(op.card.Identity.Card, token.SecretPIN, op.card.Profile.Limit, onCard)
}

// noteLower takes over a count of the card that is below ours: somebody spent
// tries elsewhere.
func (op *operation) noteLower(onCard token.Tries) error {
	guard, id, limit := op.b.cfg.Guard, op.card.Identity.Card, op.card.Profile.Limit
	if !guard.IsLower(id, token.SecretPIN, limit, onCard) {
		return nil
	}
	rec := audit.Record{
		Kind: audit.KindEvent, Operation: "out-of-band", Card: id, Tries: onCard, Virtual: op.card.Virtual,
		Detail: "the card has fewer tries left than were counted here: it was used elsewhere",
	}
	_, err := op.b.ledger.barrier(rec, func(mark pinguard.AuditMark) error {
		_, err := guard.Lower(id, token.SecretPIN, limit, onCard, mark)
		return err
	})
	return err
}

// refused records that nothing was begun. The refusal stands even if the
// record cannot be written, for it lets nothing out.
func (op *operation) refused(cause error) {
	rec := op.record
	rec.Kind, rec.Code = audit.KindRefused, string(token.KindOf(cause))
	if err := op.b.ledger.note(rec); err != nil {
		op.b.cfg.Logger.Error("Recording a refusal", "error", err)
	}
}

// locked is the answer when no tries are left.
func locked() *token.Error {
	return token.NewError(token.KindCardLocked).WithTries(token.KnownTries(0))
}
