package broker

import (
	"context"

	"github.com/inkan-project/inkan/daemon/internal/cardowner"
	"github.com/inkan-project/inkan/token"
)

// Layer is one of the things a signature stands on, from below. Values are
// those of the API.
type Layer uint8

// Layers.
const (
	LayerNone        Layer = 0
	LayerService     Layer = 1
	LayerPCSCD       Layer = 2
	LayerReader      Layer = 3
	LayerCard        Layer = 4
	LayerApplication Layer = 5
)

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
	Problem *token.Error // what is wrong, else nil
	// Of an application that was found.
	Application string
	Keys        int
}

// Diagnose checks layer by layer, from below, what a signature needs, as far as
// that goes without a PIN. It sends nothing to any card.
func (b *Broker) Diagnose(ctx context.Context) []Step {
	b.settle(ctx)
	s := b.Status(ctx)
	steps := []Step{{Layer: LayerService, Result: StepOK}}
	if err := b.cfg.Cards.Service(); err != nil {
		steps = append(steps, failed(LayerPCSCD, "", err))
		return append(steps, notReached(LayerReader, LayerCard, LayerApplication)...)
	}
	steps = append(steps, Step{Layer: LayerPCSCD, Result: StepOK})
	if len(s.Readers) == 0 {
		steps = append(steps, failed(LayerReader, "", token.NewError(token.KindNoReader)))
		return append(steps, notReached(LayerCard, LayerApplication)...)
	}
	for _, r := range s.Readers {
		steps = append(steps, Step{Layer: LayerReader, Result: StepOK, Subject: r.Name})
	}
	var inserted []cardowner.Reader
	for _, r := range s.Readers {
		if r.Present {
			inserted = append(inserted, r)
			steps = append(steps, cardStep(r))
		}
	}
	if len(inserted) == 0 {
		steps = append(steps, failed(LayerCard, "", token.NewError(token.KindNoCard)))
		return append(steps, notReached(LayerApplication)...)
	}
	for _, r := range inserted {
		steps = append(steps, b.applicationStep(r))
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
func (b *Broker) applicationStep(r cardowner.Reader) Step {
	switch {
	case cardStep(r).Result == StepFailed:
		return Step{Layer: LayerApplication, Result: StepNotReached, Subject: r.Name}
	case r.Card != nil && b.cardStatus(*r.Card).problem() != nil:
		return failed(LayerApplication, string(r.Card.Identity.Card), b.cardStatus(*r.Card).problem())
	case r.Card != nil:
		return Step{
			Layer: LayerApplication, Result: StepOK, Subject: string(r.Card.Identity.Card),
			Application: r.Card.Application, Keys: len(r.Card.Keys),
		}
	case r.Problem == nil: // it is being looked at, for too long
		return failed(LayerApplication, r.Name, token.NewError(token.KindCardSilent))
	}
	return failed(LayerApplication, r.Name, r.Problem)
}

// Service returns why readers cannot be reached at all, or nil.
func (b *Broker) Service() *token.Error { return b.cfg.Cards.Service() }

// Missing returns the lowest layer without which nothing can be signed.
func (b *Broker) Missing(s Status) Layer {
	if b.cfg.Cards.Service() != nil {
		return LayerPCSCD
	}
	if len(s.Readers) == 0 {
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

func notReached(layers ...Layer) []Step {
	var steps []Step
	for _, l := range layers {
		steps = append(steps, Step{Layer: l, Result: StepNotReached})
	}
	return steps
}
