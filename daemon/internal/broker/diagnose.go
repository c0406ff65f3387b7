package broker

import (
	"context"
	"time"

	"github.com/inkan-project/inkan/daemon/internal/cardowner"
	"github.com/inkan-project/inkan/daemon/internal/pinguard"
	"github.com/inkan-project/inkan/token"
)

// Layer is one of the things a signature stands on, from below. Values are
// those of the API.
type Layer uint8

// Layers.
const (
	LayerNone         Layer = 0
	LayerService      Layer = 1
	LayerPCSCD        Layer = 2
	LayerReader       Layer = 3
	LayerCard         Layer = 4
	LayerApplication  Layer = 5
	LayerKeys         Layer = 6
	LayerCertificates Layer = 7
	LayerPIN          Layer = 8
	LayerJournal      Layer = 9
	LayerLog          Layer = 10
)

// AboutCards reports whether what is found in a layer is for those alone who
// may see cards.
func (l Layer) AboutCards() bool { return l >= LayerKeys && l <= LayerPIN }

// StepResult is how a step of a diagnosis ended. Values are those of the API.
type StepResult uint8

// Results.
const (
	StepOK         StepResult = 1
	StepFailed     StepResult = 2
	StepWarning    StepResult = 3
	StepNotReached StepResult = 4
)

// Step is one step of a diagnosis.
type Step struct {
	Layer   Layer
	Result  StepResult
	Subject string       // reader or card, or ""
	Problem *token.Error // what is wrong, or worth a note; else nil
	// What was found, where it fits.
	Application string
	Count       uint64           // of keys or records
	Keys        []string         // labels of the keys that a step is about
	Until       time.Time        // end of the first certificate to end
	PIN         *pinguard.Belief // tries
}

// Diagnose checks layer by layer, from below, what a signature needs, as far as
// that goes without a PIN. It sends nothing to any card. Journal and log are
// looked at whatever else is missing.
func (b *Broker) Diagnose(ctx context.Context) []Step {
	b.settle(ctx)
	s := b.Status(ctx)
	steps := append([]Step{{Layer: LayerService, Result: StepOK}}, b.diagnoseCards(s)...)
	return append(steps, b.journalStep(), b.logStep())
}

// diagnoseCards goes from pcscd to the PIN.
func (b *Broker) diagnoseCards(s Status) []Step {
	steps := []Step{{Layer: LayerPCSCD, Result: StepOK}}
	if err := b.cfg.Cards.Service(); err != nil {
		steps[0] = failed(LayerPCSCD, "", err)
		if len(s.Readers) == 0 {
			return append(steps, notReached(LayerReader)...)
		}
		steps[0].Result = StepWarning // these come from elsewhere: a PKCS#11 module
	}
	if len(s.Readers) == 0 {
		steps = append(steps, failed(LayerReader, "", token.NewError(token.KindNoReader)))
		return append(steps, notReached(LayerCard)...)
	}
	var inserted []cardowner.Reader
	var cards []Step
	for _, r := range s.Readers {
		steps = append(steps, Step{Layer: LayerReader, Result: StepOK, Subject: r.Name})
		if r.Present {
			inserted = append(inserted, r)
			cards = append(cards, cardStep(r))
		}
	}
	if len(inserted) == 0 {
		steps = append(steps, failed(LayerCard, "", token.NewError(token.KindNoCard)))
		return append(steps, notReached(LayerApplication)...)
	}
	steps = append(steps, cards...)
	var usable []CardStatus
	for _, r := range inserted {
		step := applicationStep(r)
		steps = append(steps, step)
		if step.Result == StepOK {
			usable = append(usable, b.cardStatus(*r.Card))
		}
	}
	if len(usable) == 0 {
		return append(steps, notReached(LayerKeys)...)
	}
	for _, look := range []func(CardStatus) []Step{keySteps, b.certificateSteps, pinSteps} {
		for _, card := range usable {
			steps = append(steps, look(card)...)
		}
	}
	return steps
}

// cardStep says whether the card in a reader can be used as a card.
func cardStep(r cardowner.Reader) Step {
	switch {
	case duplicate(r):
		return failed(LayerCard, r.Name, r.Problem)
	case r.Card != nil && r.Trouble != nil:
		return failed(LayerCard, r.Name, r.Trouble)
	}
	return Step{Layer: LayerCard, Result: StepOK, Subject: r.Name}
}

// duplicate reports whether another card claims to be the one in this reader.
func duplicate(r cardowner.Reader) bool {
	return r.Problem != nil && r.Problem.Kind == token.KindCardDuplicate
}

// applicationStep says what is on the card in a reader.
func applicationStep(r cardowner.Reader) Step {
	switch {
	case cardStep(r).Result == StepFailed:
		return Step{Layer: LayerApplication, Result: StepNotReached, Subject: r.Name}
	case r.Card != nil:
		return Step{Layer: LayerApplication, Result: StepOK, Subject: string(r.Card.Identity.Card), Application: r.Card.Application}
	case r.Problem == nil: // it is being looked at, for too long
		return failed(LayerApplication, r.Name, token.NewError(token.KindCardSilent))
	}
	return failed(LayerApplication, r.Name, r.Problem)
}

// Service returns why readers cannot be reached at all, or nil.
func (b *Broker) Service() *token.Error { return b.cfg.Cards.Service() }

// Missing returns the lowest layer without which nothing can be signed.
func (b *Broker) Missing(s Status) Layer {
	switch {
	case len(s.Readers) > 0: // from pcscd or from a PKCS#11 module
	case b.cfg.Cards.Service() != nil:
		return LayerPCSCD
	default:
		return LayerReader
	}
	missing := LayerCard
	for _, r := range s.Readers {
		switch {
		case duplicate(r):
		case r.Card != nil:
			return LayerNone
		case r.Present:
			missing = LayerApplication
		}
	}
	return missing
}

func failed(layer Layer, subject string, problem *token.Error) Step {
	return Step{Layer: layer, Result: StepFailed, Subject: subject, Problem: problem}
}

// notReached is the layers from this one up to the PIN.
func notReached(from Layer) []Step {
	var steps []Step
	for l := from; l <= LayerPIN; l++ {
		steps = append(steps, Step{Layer: l, Result: StepNotReached})
	}
	return steps
}
