package broker

import (
	"context"
	"errors"
	"fmt"

	"github.com/inkan-project/inkan/daemon/internal/audit"
	"github.com/inkan-project/inkan/daemon/internal/cardowner"
	"github.com/inkan-project/inkan/daemon/internal/failpoint"
	"github.com/inkan-project/inkan/daemon/internal/pinguard"
	"github.com/inkan-project/inkan/daemon/internal/prompt"
	"github.com/inkan-project/inkan/token"
)

// maxPrompts bounds how often a person is asked again because the card said
// fewer tries than the prompt had shown. No try is spent by it.
const maxPrompts = 5

// errFewerTries means that the person was shown more tries than there are.
var errFewerTries = errors.New("fewer tries left than the person was shown")

// sender sends what was entered to the card, once.
type sender func(context.Context, cardowner.Lease, *entry, *token.Attempt) (token.Verdict, error)

// operation is one use of one card on behalf of a caller.
type operation struct {
	b      *Broker
	caller Caller
	card   cardowner.Card
	prompt prompt.Request // what the person is shown
	record audit.Record   // what intent and result have in common
	turn   *turn

	// secret is what the card wants, 0 = nothing; send sends it, once.
	secret token.Secret
	send   sender
	// renews means that the person gives a new PIN, too.
	renews bool
	// begin begins work whose key may want the secret once more; nil = it does not
	// begin before it is done.
	begin func(context.Context, token.Beginner) (again bool, err error)
	// use is everything that happens in one use of the card, most often
	// [operation.useCard].
	use func(context.Context, cardowner.Lease) error
	// work is done after the secret was accepted, or at once without one. Its
	// error is the outcome.
	work func(context.Context, cardowner.Lease) error
	// releases means that something leaves when all went well; released is
	// called when it has left.
	releases bool
	released func()
	// answer is what the result says of the answer when all went well.
	answer func() answer

	done     uint64          // sequence of the result record
	after    pinguard.Belief // of the secret, once the result is recorded
	warnings []Warning       // what a person should know although it went well
	entered  *entry          // what was entered, while it is used
}

// run does the operation. What it refuses before anything was recorded is
// recorded as refused.
func (op *operation) run(ctx context.Context) error {
	err := op.attempts(ctx)
	failpoint.Hit(failpoint.CardReset)
	op.b.touch()
	if err != nil && op.done == 0 {
		op.turn.refused(op.b, op.record, err)
	}
	return err
}

// attempts asks and uses the card, again only where no try was spent.
func (op *operation) attempts(ctx context.Context) error {
	for range maxPrompts {
		if err := op.b.stops.check(op.id()); err != nil {
			return err
		}
		if op.secret != 0 {
			var err error
			if op.entered, err = op.ask(ctx); err != nil {
				return err
			}
		}
		err := op.inTurn(ctx)
		op.entered.wipe()
		if !errors.Is(err, errFewerTries) {
			return err
		}
		if op.card, err = op.b.cfg.Cards.Card(op.id()); err != nil {
			return err
		}
	}
	return token.Errorf(token.KindReaderInUse, "others keep spending its tries").
		InJapanese("他のプログラムが試行を続けています")
}

// inTurn uses the card when it is the caller's turn.
func (op *operation) inTurn(ctx context.Context) error {
	done, err := op.b.turns.take(ctx, op.id(), op.caller.UID)
	if err != nil {
		return err
	}
	defer done()
	return op.b.cfg.Cards.Use(ctx, op.id(), op.use)
}

// id is the card's identity.
func (op *operation) id() token.CardID { return op.card.Identity.Card }

// account is the secret that this operation spends tries of.
func (op *operation) account(onCard token.Tries) pinguard.Account {
	return accountOf(op.card, op.secret, onCard)
}

// ready checks, with the card in hand, what must hold before anything is spent.
func (op *operation) ready(onCard token.Tries) error {
	op.b.cfg.Guard.Told(accountOf(op.card, token.SecretPIN, onCard))
	if err := op.noteLower(onCard); err != nil {
		return err
	}
	op.b.noteFull(op.card, onCard)
	if err := op.b.stops.check(op.id()); err != nil {
		return err
	}
	if op.secret != 0 {
		if err := op.stillAsShown(onCard); err != nil {
			return err
		}
	}
	return op.caller.check()
}

// useCard is everything that happens in one use of the card.
func (op *operation) useCard(ctx context.Context, lease cardowner.Lease) error {
	if err := op.ready(lease.OnCard); err != nil {
		return err
	}
	failpoint.Hit(failpoint.BeforeIntent)
	intent, attempt, err := op.intend(lease.OnCard)
	if err != nil {
		return err
	}
	failpoint.Hit(failpoint.BeforeSecret)
	verdict, outcome := token.Verdict{}, error(nil)
	if op.secret != 0 {
		verdict, outcome = op.prove(ctx, lease, attempt)
		if outcome == nil {
			attempt, verdict, outcome = op.proveAgain(ctx, lease, attempt, verdict)
		}
		op.entered.wipe()
	}
	if outcome == nil && op.releases { // else what was done cannot be undone
		outcome = op.b.stops.check(op.id())
	}
	if outcome == nil {
		outcome = op.work(ctx, lease)
	}
	if outcome == nil {
		outcome = op.caller.check()
	}
	err = op.conclude(intent, attempt, verdict, outcome)
	failpoint.Hit(failpoint.Recorded)
	return err
}

// stillAsShown refuses where the person was shown more tries than there are,
// and what the card called wrong since it was entered.
func (op *operation) stillAsShown(onCard token.Tries) error {
	acc := op.account(onCard)
	if err := op.b.cfg.Guard.Admit(acc, op.entered.who); err != nil {
		return err
	}
	left := op.b.cfg.Guard.Belief(acc).Left
	if op.b.cfg.Wrong.Has(op.id(), op.secret, op.entered.first) { // another call was told so while this one waited
		return op.knownWrong(left)
	}
	if left < op.entered.shown.Left {
		return errFewerTries
	}
	return nil
}

// intend is the first barrier: the try is spent and the intent recorded before
// anything is sent to the card.
func (op *operation) intend(onCard token.Tries) (intent audit.Record, attempt *token.Attempt, err error) {
	rec := op.record
	rec.Kind = audit.KindIntent
	if op.secret != 0 {
		rec.Detail = fmt.Sprintf("the %s came from: %s", op.secret, op.entered.source)
	}
	guard := op.b.cfg.Guard
	intent, err = op.b.ledger.barrier(rec, func(mark pinguard.AuditMark) (err error) {
		if op.secret == 0 {
			return guard.Mark(mark)
		}
		attempt, err = guard.Debit(op.account(onCard), op.entered.who, mark)
		return err
	})
	if err != nil && attempt != nil {
		err = errors.Join(err, op.b.ledger.abandon(attempt))
	}
	if err == nil {
		op.turn.intent = intent.Sequence
	}
	return intent, attempt, err
}

// conclude is the second barrier: the verdict and the result are durable
// before anybody is told. A stop that came meanwhile is looked for before it;
// one that comes later waits until what is released has left.
func (op *operation) conclude(intent audit.Record, attempt *token.Attempt, verdict token.Verdict, outcome error) error {
	if outcome == nil && op.releases {
		op.released, outcome = op.b.stops.release(op.id())
	}
	rec, outcome := op.result(intent, attempt, verdict, outcome)
	written, err := op.b.ledger.barrier(rec, func(mark pinguard.AuditMark) error {
		if attempt == nil {
			return op.b.cfg.Guard.Mark(mark)
		}
		return op.b.cfg.Guard.Settle(attempt, verdict, mark)
	})
	op.done = intent.Sequence
	if err != nil {
		return err
	}
	op.done, op.turn.answer = written.Sequence, written.Sequence
	return outcome
}

// result is the record of how the operation ended, and its outcome with all
// that the caller is told.
func (op *operation) result(intent audit.Record, attempt *token.Attempt, verdict token.Verdict, outcome error) (audit.Record, error) {
	rec := op.record
	rec.Kind, rec.Intent, rec.Outcome = audit.KindResult, intent.Sequence, audit.OutcomeOK
	if outcome != nil {
		rec.Outcome, rec.Code = audit.OutcomeFailed, string(token.KindOf(outcome))
	}
	guard := op.b.cfg.Guard
	if attempt != nil {
		before := guard.Belief(op.account(token.Tries{}))
		op.after = guard.After(attempt, verdict)
		rec.Tries = token.KnownTries(op.after.Left)
		if op.after.Elsewhere && !before.Elsewhere {
			rec.Detail = usedElsewhere
		}
	}
	for _, w := range op.warnings {
		rec.Detail += w.record()
	}
	if e, ok := errors.AsType[*token.Error](outcome); ok && attempt != nil {
		outcome = e.WithTries(rec.Tries)
	}
	if outcome == nil {
		op.answer().into(&rec)
	} else {
		failure(outcome).into(&rec)
	}
	return rec, outcome
}

// usedElsewhere is what the log says of a card whose count is below ours.
const usedElsewhere = "the card has fewer tries left than were counted here: it was used elsewhere"

// noteLower takes over a PIN count of the card that is below ours: somebody
// spent tries elsewhere.
func (op *operation) noteLower(onCard token.Tries) error {
	guard, acc := op.b.cfg.Guard, accountOf(op.card, token.SecretPIN, onCard)
	if !guard.IsLower(acc) {
		return nil
	}
	rec := audit.Record{
		Kind: audit.KindEvent, Operation: "out-of-band", Card: op.id(), Tries: onCard, Virtual: op.card.Virtual,
		Detail: usedElsewhere,
	}
	_, err := op.b.ledger.barrier(rec, func(mark pinguard.AuditMark) error {
		_, err := guard.Lower(acc, mark)
		return err
	})
	return err
}

// refused records that nothing was begun. The refusal stands even if the
// record cannot be written, for it lets nothing out. It returns the record's
// number, 0 for none.
func (b *Broker) refused(rec audit.Record, cause error) uint64 {
	rec.Kind, rec.Code = audit.KindRefused, string(token.KindOf(cause))
	failure(cause).into(&rec)
	rec, err := b.ledger.barrier(rec, b.cfg.Guard.Mark)
	if err != nil {
		b.cfg.Logger.Error("Recording a refusal", "error", err)
		return 0
	}
	return rec.Sequence
}

// left lets a stop of the card go on that waits for what was released.
func (op *operation) left() {
	if op.released != nil {
		op.released()
	}
}
