package broker

import (
	"context"
	"fmt"

	"github.com/inkan-project/inkan/daemon/internal/audit"
	"github.com/inkan-project/inkan/daemon/internal/cardowner"
	"github.com/inkan-project/inkan/daemon/internal/failpoint"
	"github.com/inkan-project/inkan/daemon/internal/prompt"
	"github.com/inkan-project/inkan/token"
)

// Warning is something that a person should know although all went well: a
// kind of the catalogue.
type Warning token.Kind

// DefaultUnlockCode means that the card took an unlock code that everybody knows.
const DefaultUnlockCode = Warning(token.KindDefaultUnlockCode)

// record is what the log says of it.
func (w Warning) record() string {
	if w == DefaultUnlockCode {
		return "the unlock code is a factory default that everybody knows"
	}
	return string(w)
}

// VerifyPIN proves the PIN to the card once, and takes the right back.
func (b *Broker) VerifyPIN(ctx context.Context, caller Caller, id token.CardID) (CardStatus, error) {
	card, _, err := b.oncePIN(ctx, caller, id, "verify", func(op *operation) {
		op.secret, op.send = token.SecretPIN, sendVerify
	})
	return card, err
}

// ChangePIN gives the card a new PIN. The old one spends a try when it is
// wrong.
func (b *Broker) ChangePIN(ctx context.Context, caller Caller, id token.CardID) (CardStatus, error) {
	card, _, err := b.oncePIN(ctx, caller, id, "change-pin", func(op *operation) {
		op.secret, op.renews = token.SecretPIN, true
		op.send = func(ctx context.Context, lease cardowner.Lease, e *entry, attempt *token.Attempt) (token.Verdict, error) {
			return lease.ChangePIN(ctx, e.first, e.next, attempt)
		}
	})
	return card, err
}

// Unlock gives the card a new PIN by its unlock code, which spends a try of its
// own when it is wrong.
func (b *Broker) Unlock(ctx context.Context, caller Caller, id token.CardID) (CardStatus, []Warning, error) {
	return b.oncePIN(ctx, caller, id, "unlock", unlocking)
}

// unlocking makes an operation one that unlocks.
func unlocking(op *operation) {
	op.secret, op.renews = token.SecretUnlockCode, true
	op.prompt.Ask, op.prompt.Format = prompt.AskUnlockCode, op.card.Profile.UnlockCode
	op.send = func(ctx context.Context, lease cardowner.Lease, e *entry, attempt *token.Attempt) (token.Verdict, error) {
		wellKnown := false
		for _, code := range op.card.Profile.DefaultUnlockCodes {
			wellKnown = e.first.EqualText(code) || wellKnown
		}
		verdict, err := lease.Unlock(ctx, e.first, e.next, attempt)
		if wellKnown && err == nil && verdict.Kind == token.VerdictOK {
			op.warnings = append(op.warnings, DefaultUnlockCode)
		}
		return verdict, err
	}
}

// oncePIN does a use case that is about a card's secrets alone.
func (b *Broker) oncePIN(ctx context.Context, caller Caller, id token.CardID, name string, prepare func(*operation)) (card CardStatus, warnings []Warning, err error) {
	card, err = once(ctx, b, caller, caller.record(name, id), []string{string(id)},
		func(t *turn) (CardStatus, error) {
			card, err := b.card(ctx, id)
			if err != nil {
				return CardStatus{}, err
			}
			op := b.operation(caller, card, name, t)
			op.work = func(context.Context, cardowner.Lease) error { return nil }
			op.answer = op.proved
			prepare(op)
			status, err := op.finish(ctx)
			warnings = op.warnings
			return status, err
		},
		func(rec audit.Record) (status CardStatus, err error) {
			status, warnings, err = statusIn(rec)
			return status, err
		})
	return card, warnings, err
}

// proved is the answer when the card took the secret.
func (op *operation) proved() answer {
	a := answer{PIN: triesOf(op.after), Warnings: op.warnings}
	if op.secret == token.SecretUnlockCode { // the PIN has all its tries again
		limit := op.b.cfg.Guard.Belief(accountOf(op.card, token.SecretPIN, token.Tries{})).Limit
		a.PIN, a.Unlock = &tries{Left: limit, Limit: limit}, a.PIN
	} else {
		a.Unlock = triesOf(op.b.cfg.Guard.Belief(accountOf(op.card, token.SecretUnlockCode, token.Tries{})))
	}
	return a
}

// card returns a card that is inserted.
func (b *Broker) card(ctx context.Context, id token.CardID) (cardowner.Card, error) {
	card, err := b.cfg.Cards.Card(id)
	if err != nil {
		b.settle(ctx)
		card, err = b.cfg.Cards.Card(id)
	}
	return card, err
}

// finish runs the operation and returns the card as it is then.
func (op *operation) finish(ctx context.Context) (CardStatus, error) {
	if err := op.run(ctx); err != nil {
		return CardStatus{}, err
	}
	if now, err := op.b.cfg.Cards.Card(op.id()); err == nil { // else it was pulled right after
		op.card = now
	}
	return op.b.cardStatus(op.card), nil
}

func sendVerify(ctx context.Context, lease cardowner.Lease, e *entry, attempt *token.Attempt) (token.Verdict, error) {
	return lease.Verify(ctx, e.first, attempt)
}

// prove sends the secret once and says what the verdict means.
func (op *operation) prove(ctx context.Context, lease cardowner.Lease, attempt *token.Attempt) (token.Verdict, error) {
	return op.proveBy(ctx, lease, attempt, op.send)
}

// proveBy is prove by another way of sending.
func (op *operation) proveBy(ctx context.Context, lease cardowner.Lease, attempt *token.Attempt, send sender) (token.Verdict, error) {
	verdict, err := send(ctx, lease, op.entered, attempt)
	if err != nil { // nothing was sent; the try stays spent all the same
		return token.Verdict{Cause: err}, token.NewError(token.KindInternal).Because(err)
	}
	if n, known := verdict.Tries.Count(); verdict.Kind == token.VerdictWrong && known && n == 0 {
		verdict.Kind = token.VerdictBlocked
	}
	op.learn(lease, verdict)
	if verdict.Kind == token.VerdictOK {
		failpoint.Hit(failpoint.SecretRight)
		return verdict, nil
	}
	failpoint.Hit(failpoint.SecretWrong)
	if verdict.Kind != token.VerdictNone {
		return verdict, op.wrong(verdict)
	}
	return verdict, op.noVerdict(verdict)
}

// learn takes in what the verdict says besides.
func (op *operation) learn(lease cardowner.Lease, verdict token.Verdict) {
	wrong := op.b.cfg.Wrong
	switch {
	case verdict.Kind == token.VerdictOK && op.renews: // an old mistake may be right now
		wrong.Forget(op.id(), token.SecretPIN)
	case verdict.Kind == token.VerdictWrong, verdict.Kind == token.VerdictBlocked && isCounted(verdict):
		wrong.Add(op.id(), op.secret, op.entered.first)
	}
	switch {
	case op.secret != token.SecretPIN:
		lease.Learn(token.Tries{}) // of the PIN nothing is known any more
	case verdict.Kind == token.VerdictBlocked:
		lease.Learn(token.KnownTries(0))
	default:
		lease.Learn(verdict.Tries)
	}
}

// isCounted reports whether the card said "wrong, none left" rather than only
// that it is blocked: the secret itself was looked at.
func isCounted(v token.Verdict) bool { return v.SW == 0 || v.SW>>8 == 0x63 }

// wrong is the error for a secret that the card did not accept.
func (op *operation) wrong(v token.Verdict) error {
	looked := v.Kind == token.VerdictWrong || isCounted(v)
	switch {
	case op.secret == token.SecretUnlockCode && looked:
		return token.NewError(token.KindUnlockCodeWrong)
	case op.secret == token.SecretUnlockCode:
		return token.NewError(token.KindUnlockCodeUsedUp)
	case looked:
		return token.NewError(token.KindPINWrong)
	}
	return token.NewError(token.KindCardLocked)
}

// noVerdict is the error for a card that did not say whether it accepts.
func (op *operation) noVerdict(v token.Verdict) error {
	switch token.KindOf(v.Cause) {
	case token.KindNewPINRefusedByCard, token.KindPINExpired, token.KindPINNotSet, token.KindCardDuplicate: // the last was seen just in time
		return v.Cause
	default:
	}
	kind := token.KindPINNoVerdict
	switch {
	case op.secret == token.SecretUnlockCode:
		kind = token.KindUnlockUnknown
	case op.renews:
		kind = token.KindChangeUnknown
	}
	err := token.NewError(kind).Because(v.Cause)
	if v.SW != 0 { // it answered, in a word that its card profile does not know
		err = err.With("status_word", fmt.Sprintf("%04X", v.SW))
	}
	return err
}
