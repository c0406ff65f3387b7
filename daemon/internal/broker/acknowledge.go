package broker

import (
	"context"
	"strconv"

	"github.com/inkan-project/inkan/daemon/internal/audit"
	"github.com/inkan-project/inkan/daemon/internal/cardowner"
	"github.com/inkan-project/inkan/daemon/internal/pinguard"
	"github.com/inkan-project/inkan/daemon/internal/prompt"
	"github.com/inkan-project/inkan/token"
)

// Acknowledge ends the state held. A signer confirms in the trusted prompt. An
// administrator gives a reason instead, and that opens the gate after three
// wrong tries, too.
func (b *Broker) Acknowledge(ctx context.Context, caller Caller, id token.CardID, administrator bool, reason string) (CardStatus, error) {
	return once(ctx, b, caller, caller.record(acknowledge, id), []string{string(id), strconv.FormatBool(administrator), reason},
		func(t *turn) (CardStatus, error) { return b.acknowledge(ctx, caller, id, administrator, reason, t) },
		func(rec audit.Record) (CardStatus, error) {
			status, _, err := statusIn(rec)
			return status, err
		})
}

// acknowledge is also the operation of its records.
const acknowledge = "acknowledge"

func (b *Broker) acknowledge(ctx context.Context, caller Caller, id token.CardID, administrator bool, reason string, t *turn) (CardStatus, error) {
	card, err := b.card(ctx, id)
	if err != nil {
		return CardStatus{}, err
	}
	rec := caller.event(acknowledge, id, reason)
	rec.Virtual = card.Virtual
	if err := b.mayAcknowledge(ctx, caller, card, administrator); err != nil {
		t.refused(b, rec, err)
		return CardStatus{}, err
	}
	rec.Request = t.request
	b.acknowledged(card, administrator).into(&rec)
	written, err := b.ledger.barrier(rec, func(mark pinguard.AuditMark) error {
		return b.cfg.Guard.Acknowledge(id, administrator, mark)
	})
	t.answer = written.Sequence
	b.touch()
	return b.cardStatus(card), err
}

// acknowledged is the answer once it is recorded.
func (b *Broker) acknowledged(card cardowner.Card, administrator bool) answer {
	now := b.cardStatus(card)
	pin, unlock := now.PIN.Acknowledged(administrator, card.OnCard), now.Unlock.Acknowledged(administrator, token.Tries{})
	return answer{State: uint8(pinguard.StateOf(pin, unlock)), PIN: triesOf(pin), Unlock: triesOf(unlock)}
}

// mayAcknowledge returns nil if somebody has confirmed what there is to
// acknowledge.
func (b *Broker) mayAcknowledge(ctx context.Context, caller Caller, card cardowner.Card, administrator bool) error {
	id := card.Identity.Card
	if err := b.stops.check(id); err != nil {
		return err
	}
	if !b.cfg.Guard.IsHeld(id, administrator) {
		return token.NewError(token.KindCardNotHeld, "card", string(id))
	}
	if administrator {
		return nil
	}
	shown := b.cardStatus(card)
	req := b.operation(caller, card, acknowledge, &turn{}).prompt
	for _, secret := range []struct {
		belief pinguard.Belief
		ask    prompt.Reason
	}{{shown.PIN, prompt.ReasonHeld}, {shown.Unlock, prompt.ReasonHeldUnlock}} {
		if secret.belief.Held == 0 {
			continue
		}
		if err := b.confirmHeld(ctx, req, secret.belief, secret.ask); err != nil {
			return err
		}
	}
	// Somebody else may have confirmed while the person read, and more tries
	// may have been lost since: this person knows nothing of them.
	if !b.cfg.Guard.IsHeld(id, false) {
		return token.NewError(token.KindCardNotHeld, "card", string(id))
	}
	if now := b.cardStatus(card); now.PIN.Left != shown.PIN.Left || now.Unlock.Left != shown.Unlock.Left {
		return token.NewError(token.KindConfirmationRefused)
	}
	return nil
}

// confirmHeld has a person type the number of tries left of one secret.
func (b *Broker) confirmHeld(ctx context.Context, req prompt.Request, left pinguard.Belief, why prompt.Reason) error {
	req.Ask, req.Reason, req.Confirmation = prompt.AskNothing, why, strconv.Itoa(left.Left)
	req.People = !b.cfg.Virtual
	answer, err := b.cfg.Prompter.Ask(ctx, showing(req, left))
	switch {
	case err != nil:
		return err
	case req.People && answer.Source != prompt.SourcePrompt:
		return token.Errorf(token.KindPINSourceRefused, "only a person may confirm this").InJapanese("人だけが確認できます")
	case answer.Confirmation != req.Confirmation:
		return token.NewError(token.KindConfirmationRefused)
	}
	return nil
}

// Inserted takes note that a person put a card in. It writes only where that
// opens the gate after wrong tries.
func (b *Broker) Inserted(_ context.Context, id token.CardID) error {
	if !b.cfg.Guard.IsGated(id) {
		return nil
	}
	rec := audit.Record{
		Kind: audit.KindEvent, Operation: "inserted", Card: id,
		Detail: "the card was inserted again after wrong tries",
	}
	_, err := b.ledger.barrier(rec, func(mark pinguard.AuditMark) error { return b.cfg.Guard.Inserted(id, mark) })
	return err
}

// event is a record of something that a caller did to a card without it.
func (c Caller) event(operation string, card token.CardID, detail string) audit.Record {
	rec := c.record(operation, card)
	rec.Kind, rec.Detail = audit.KindEvent, detail
	return rec
}
