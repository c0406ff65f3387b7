package broker

import (
	"context"
	"strconv"
	"time"

	"github.com/inkan-project/inkan/daemon/internal/cardowner"
	"github.com/inkan-project/inkan/daemon/internal/failpoint"
	"github.com/inkan-project/inkan/daemon/internal/pinguard"
	"github.com/inkan-project/inkan/daemon/internal/prompt"
	"github.com/inkan-project/inkan/token"
)

// Secrets remembers what cards called wrong, so that the same is not sent
// twice.
type Secrets interface {
	Has(token.CardID, token.Secret, *token.PIN) bool
	Add(token.CardID, token.Secret, *token.PIN)
	Forget(token.CardID, token.Secret)
}

// shortWait is the longest wait after a wrong try that is waited out before a
// person is asked; a longer one is refused, for the person to come back.
const shortWait = 5 * time.Second

// changedWord is typed to confirm that a PIN was changed elsewhere. It is the
// same in every language, so that any keyboard has it.
const changedWord = "changed"

// entry is what was entered for one use of a card.
type entry struct {
	first *token.PIN // PIN or unlock code
	next  *token.PIN // new PIN, or nil
	who   pinguard.Who
	shown pinguard.Belief // what the person was told
	// source is who entered the first, and so all of it.
	source prompt.Source
}

// wipe wipes all that was entered. It may be called more than once, and on nil.
func (e *entry) wipe() {
	if e != nil {
		e.first.Wipe()
		e.next.Wipe()
	}
}

func accountOf(card cardowner.Card, secret token.Secret, onCard token.Tries) pinguard.Account {
	if secret == token.SecretUnlockCode { // no card tells its count without spending a try
		return pinguard.Account{Card: card.Identity.Card, Secret: secret, Limit: card.Profile.UnlockLimit}
	}
	return pinguard.Account{Card: card.Identity.Card, Secret: secret, Limit: card.Profile.Limit, OnCard: onCard}
}

// ask gets the secret from a person or program, and checks all that can be
// checked without the card.
func (op *operation) ask(ctx context.Context) (*entry, error) {
	if err := op.b.ledger.healthy(); err != nil {
		return nil, err
	}
	acc := op.account(op.card.OnCard)
	e := &entry{who: pinguard.Who{UID: op.caller.UID, Free: op.b.cfg.Virtual}}
	if err := op.b.waitBriefly(ctx, acc, e.who); err != nil {
		return nil, err
	}
	e.shown = op.b.cfg.Guard.Belief(acc)
	req := showing(op.prompt, e.shown)
	if e.shown.Left <= lastTries && !op.b.cfg.Virtual {
		req.Confirmation, req.Reason = strconv.Itoa(e.shown.Left), prompt.ReasonFewTries
		if op.secret == token.SecretUnlockCode {
			req.Reason = prompt.ReasonReissue
		}
	}
	// A program that may not answer is not asked, or it could be in the way of
	// the person.
	req.People = !op.b.cfg.Virtual && (req.Confirmation != "" || !op.b.cfg.ProgramPINs || op.secret != token.SecretPIN)
	failpoint.Hit(failpoint.BeforePrompt)
	answer, err := op.b.cfg.Prompter.Ask(ctx, req)
	if err != nil {
		return nil, err
	}
	// Who answers first answers all that this operation asks.
	op.prompt.Agent, e.source = answer.Agent, answer.Source
	failpoint.Hit(failpoint.Entered)
	e.first = answer.PIN
	if err = op.admit(ctx, e, answer, req); err == nil && op.renews {
		err = op.askNew(ctx, e)
	}
	if err != nil {
		e.wipe()
		return nil, err
	}
	return e, nil
}

// showing returns a request that shows these tries left.
func showing(req prompt.Request, b pinguard.Belief) prompt.Request {
	req.Tries, req.TriesConfirmed = token.KnownTries(b.Left), b.Confirmed
	return req
}

// lastTries is the number of tries that a person confirms by typing it.
const lastTries = 3

// waitBriefly returns nil once who may spend a try of the account. It waits
// where that is soon so.
func (b *Broker) waitBriefly(ctx context.Context, acc pinguard.Account, who pinguard.Who) error {
	err := b.cfg.Guard.Admit(acc, who)
	if token.KindOf(err) != token.KindTryLater {
		return err
	}
	wait := b.cfg.Guard.Belief(acc).Wait
	if wait > shortWait {
		return err
	}
	select {
	case <-time.After(wait):
		return b.cfg.Guard.Admit(acc, who)
	case <-ctx.Done():
		return token.NewError(token.KindCallEnded).Because(context.Cause(ctx))
	}
}

// admit checks who gave the secret, what it looks like, and what was typed to
// confirm it.
func (op *operation) admit(ctx context.Context, e *entry, answer prompt.Answer, req prompt.Request) error {
	e.who.Program = answer.Source != prompt.SourcePrompt
	if e.who.Program && !op.b.cfg.Virtual && !op.b.cfg.ProgramPINs {
		return token.Errorf(token.KindPINSourceRefused, "the configuration does not allow it").
			InJapanese("設定で許可されていません")
	}
	if err := op.b.cfg.Guard.Admit(op.account(op.card.OnCard), e.who); err != nil {
		return err
	}
	if err := op.wellFormed(e.first); err != nil {
		return err
	}
	if answer.Confirmation != req.Confirmation && req.Confirmation != "" {
		return token.NewError(token.KindConfirmationRefused)
	}
	return op.notKnownWrong(ctx, e)
}

// wellFormed checks the form of the secret.
func (op *operation) wellFormed(pin *token.PIN) error {
	if op.secret == token.SecretUnlockCode {
		return pin.CheckCode(op.card.Profile.UnlockCode)
	}
	return pin.Check(op.card.Profile.PIN)
}

// notKnownWrong refuses what this card has called wrong before, unless a
// person says that it was changed elsewhere since.
func (op *operation) notKnownWrong(ctx context.Context, e *entry) error {
	if !op.b.cfg.Wrong.Has(op.id(), op.secret, e.first) {
		return nil
	}
	refusal := op.knownWrong(e.shown.Left)
	if e.who.Program {
		return refusal
	}
	req := showing(op.prompt, e.shown)
	req.Ask, req.Confirmation, req.Reason = prompt.AskNothing, changedWord, prompt.ReasonChangedElsewhere
	req.People = true
	answer, err := op.more(ctx, e, req)
	switch {
	case token.KindOf(err) == token.KindPromptCancelled, token.KindOf(err) == token.KindPINAgentLost:
		return refusal
	case err != nil:
		return err
	case answer.Confirmation != changedWord:
		return refusal
	}
	op.b.cfg.Wrong.Forget(op.id(), op.secret)
	return nil
}

// knownWrong refuses a secret that this card has called wrong before.
func (op *operation) knownWrong(left int) *token.Error {
	kind := token.KindPINKnownWrong
	if op.secret == token.SecretUnlockCode {
		kind = token.KindUnlockCodeKnownWrong
	}
	return token.NewError(kind).WithTries(token.KnownTries(left))
}

// more asks the agent that has entered the first for more. A card that was
// stopped meanwhile needs nothing more.
func (op *operation) more(ctx context.Context, e *entry, req prompt.Request) (prompt.Answer, error) {
	if err := op.b.stops.check(op.id()); err != nil {
		return prompt.Answer{}, err
	}
	answer, err := op.b.cfg.Prompter.Ask(ctx, req)
	if err != nil {
		return prompt.Answer{}, err
	}
	if answer.Source != e.source {
		answer.PIN.Wipe()
		return prompt.Answer{}, token.NewError(token.KindPINAgentChanged)
	}
	return answer, nil
}

// askNew asks for the new PIN twice.
func (op *operation) askNew(ctx context.Context, e *entry) error {
	req := op.prompt
	req.Ask, req.Format = prompt.AskNewPIN, op.card.Profile.PIN
	answer, err := op.more(ctx, e, req)
	if err != nil {
		return err
	}
	e.next = answer.PIN
	if err := e.next.CheckNew(op.card.Profile.PIN); err != nil {
		return err
	}
	if e.next.Equal(e.first) {
		if op.secret == token.SecretPIN {
			return token.Errorf(token.KindNewPINRefused, "it is the old PIN").InJapanese("現在の暗証番号と同じです")
		}
		return token.Errorf(token.KindNewPINRefused, "it is the unlock code").InJapanese("ロック解除コードと同じです")
	}
	req.Ask = prompt.AskNewAgain
	if answer, err = op.more(ctx, e, req); err != nil {
		return err
	}
	defer answer.PIN.Wipe()
	if !answer.PIN.Equal(e.next) {
		return token.NewError(token.KindNewPINsDiffer)
	}
	failpoint.Hit(failpoint.NewEntered)
	return nil
}

// noteFull forgets the PINs that a card called wrong when it says that it has
// all its tries: somebody proved or changed the PIN since.
func (b *Broker) noteFull(card cardowner.Card, onCard token.Tries) {
	if n, known := onCard.Count(); known && n >= card.Profile.Limit {
		b.cfg.Wrong.Forget(card.Identity.Card, token.SecretPIN)
	}
}
