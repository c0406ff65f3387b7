package broker

import (
	"context"
	"iter"

	"github.com/inkan-project/inkan/daemon/internal/cardowner"
	"github.com/inkan-project/inkan/daemon/internal/pinguard"
	"github.com/inkan-project/inkan/token"
)

// Status is readers and cards at one moment.
type Status struct {
	Sequence uint64 // grows with each change since the start
	Readers  []cardowner.Reader
	Cards    []CardStatus
}

// CardStatus is a card that is inserted, with what is believed of its tries.
type CardStatus struct {
	cardowner.Card
	State   token.CardState
	PIN     pinguard.Belief
	Unlock  pinguard.Belief
	Stop    *Stop // nil unless stopped here
	Company string
}

// Status returns the present state. It sends nothing to any card.
func (b *Broker) Status(ctx context.Context) Status {
	b.settleOnce(ctx)
	sequence, _, _ := b.change()
	return b.status(sequence)
}

func (b *Broker) status(sequence uint64) Status {
	s := Status{Sequence: sequence, Readers: b.cfg.Cards.Readers()}
	listed := map[token.CardID]bool{} // cards that claim one identity count as one: their readers show it
	for _, r := range s.Readers {
		if r.Card != nil && !listed[r.Card.Identity.Card] {
			listed[r.Card.Identity.Card] = true
			s.Cards = append(s.Cards, b.cardStatus(*r.Card))
		}
	}
	return s
}

// Watch yields the present state at once and then after each change, until
// ctx ends. States in between may be left out.
func (b *Broker) Watch(ctx context.Context) iter.Seq[Status] {
	return func(yield func(Status) bool) {
		for {
			sequence, cards, own := b.change()
			if !yield(b.status(sequence)) {
				return
			}
			select {
			case <-cards:
			case <-own:
			case <-ctx.Done():
				return
			}
		}
	}
}

// change returns the number of changes so far and what will be closed at
// the next one: of the cards, and of what is believed of them.
func (b *Broker) change() (sequence uint64, cards, own <-chan struct{}) {
	sequence, cards = b.cfg.Cards.Changed()
	b.mu.Lock()
	defer b.mu.Unlock()
	return sequence + b.changes, cards, b.changed
}

func (b *Broker) cardStatus(card cardowner.Card) CardStatus {
	s := CardStatus{
		Card:    card,
		PIN:     b.cfg.Guard.Belief(accountOf(card, token.SecretPIN, card.OnCard)),
		Unlock:  b.cfg.Guard.Belief(accountOf(card, token.SecretUnlockCode, token.Tries{})),
		Company: b.company(card),
	}
	s.State = pinguard.StateOf(s.PIN, s.Unlock)
	if stop, stopped := b.stops.of(card.Identity.Card); stopped {
		s.State, s.Stop = token.CardStoppedHere, &stop
	}
	return s
}

// company returns the company on the first certificate that names one.
func (b *Broker) company(card cardowner.Card) string {
	for _, k := range card.Keys {
		if facts, _ := b.Certificate(k); facts.Company != "" {
			return facts.Company
		}
	}
	return ""
}

// problem returns why nobody can sign with the card now, or nil.
func (s CardStatus) problem() *token.Error {
	switch s.State {
	case token.CardStoppedHere:
		return token.NewError(token.KindCardStoppedHere, "card", string(s.Identity.Card))
	case token.CardDead:
		return token.NewError(token.KindCardDead)
	case token.CardLocked:
		return locked()
	case token.CardReady, token.CardLow, token.CardHeld:
	}
	return s.PIN.Refusal()
}

// locked is what is said of a card without tries.
func locked() *token.Error {
	return token.NewError(token.KindCardLocked).WithTries(token.KnownTries(0))
}

// Notices are what a person should know about the card, as entries of the
// catalogue.
func (s CardStatus) Notices() []*token.Error {
	var all []*token.Error
	id := s.Identity.Card
	if s.Stop != nil {
		all = append(all, token.NewError(token.KindCardStoppedHere, "card", string(id)))
	}
	for _, account := range []pinguard.Belief{s.PIN, s.Unlock} {
		if err := account.Refusal(); err != nil {
			all = append(all, err)
		}
	}
	if s.PIN.Elsewhere {
		all = append(all, token.NewError(token.KindUsedElsewhere))
	}
	return all
}
