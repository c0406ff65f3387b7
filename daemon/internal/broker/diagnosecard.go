package broker

import (
	"slices"
	"strconv"
	"time"

	"github.com/inkan-project/inkan/token"
)

// keySteps says which keys a card has.
func keySteps(c CardStatus) []Step {
	id := string(c.Identity.Card)
	var signing []string
	for _, k := range c.Keys {
		if !k.DecryptOnly {
			signing = append(signing, k.Slot)
		}
	}
	if len(signing) == 0 {
		return []Step{failed(LayerKeys, id, token.NewError(token.KindNoKey))}
	}
	return []Step{{Layer: LayerKeys, Result: StepOK, Subject: id, Count: uint64(len(c.Keys)), Keys: signing}}
}

// certificateSteps says what the certificates of a card are worth: one step
// for all keys of which the same is to be said. A card with one certificate
// that signs is well, whatever the others are.
func (b *Broker) certificateSteps(c CardStatus) []Step {
	id := string(c.Identity.Card)
	var steps []Step
	usable := false
	for _, k := range c.Keys {
		if k.DecryptOnly {
			continue
		}
		problem, result, until := b.worth(k)
		usable = usable || result != StepFailed
		same := func(s Step) bool { return kindOf(s.Problem) == kindOf(problem) }
		at := slices.IndexFunc(steps, same)
		if at < 0 {
			at = len(steps)
			steps = append(steps, Step{Layer: LayerCertificates, Result: result, Subject: id, Problem: problem, Until: until})
		}
		steps[at].Keys = append(steps[at].Keys, k.Slot)
		if until.Before(steps[at].Until) {
			steps[at].Until = until
		}
	}
	if len(steps) == 0 {
		return []Step{{Layer: LayerCertificates, Result: StepNotReached, Subject: id}}
	}
	for i := range steps {
		if usable && steps[i].Result == StepFailed {
			steps[i].Result = StepWarning
		}
	}
	return steps
}

// worth says what is to be said of a key's certificate, and when it ends.
func (b *Broker) worth(k token.Key) (problem *token.Error, result StepResult, until time.Time) {
	if len(k.Certificate) == 0 {
		return token.NewError(token.KindNoCertificate, "key", k.Slot), StepFailed, time.Time{}
	}
	facts, state := b.Certificate(k)
	problem, result = nil, StepFailed
	switch state {
	case token.CertificateGood:
		result = StepOK
	case token.CertificateExpiring:
		problem, result = token.NewError(token.KindCertificateExpiring, "not_after", facts.NotAfter.Format(time.DateOnly)), StepWarning
	case token.CertificateNotYetValid:
		problem = token.NewError(token.KindCertificateNotYetValid)
	case token.CertificateExpired:
		problem = token.NewError(token.KindCertificateExpired)
	case token.CertificateSuspended:
		problem = token.NewError(token.KindCertificateSuspended)
	case token.CertificateRevoked:
		problem = token.NewError(token.KindCertificateRevoked)
	case token.CertificateUnknown: // a state, not an error: it signs
		problem, result = token.NewError(token.KindRevocationUnknown), StepWarning
	default:
		problem = token.Errorf(token.KindCardFault, "the certificate in slot %s cannot be read", k.Slot).
			InJapanese("スロット " + k.Slot + " の証明書を読めません")
	}
	return problem, result, facts.NotAfter
}

// pinSteps says whether a card takes a PIN now.
func pinSteps(c CardStatus) []Step {
	id := string(c.Identity.Card)
	step := Step{Layer: LayerPIN, Result: StepOK, Subject: id, PIN: &c.PIN}
	if step.Problem = c.problem(); step.Problem != nil {
		step.Result = StepFailed
		return []Step{step}
	}
	var notes []*token.Error
	if c.State == token.CardLow {
		notes = append(notes, token.NewError(token.KindTriesLow).WithTries(token.KnownTries(c.PIN.Left)))
	}
	notes = append(notes, c.Notices()...)
	if len(notes) == 0 {
		return []Step{step}
	}
	steps := make([]Step, len(notes))
	for i, note := range notes {
		steps[i] = step
		steps[i].Problem, steps[i].Result = note, StepWarning
	}
	return steps
}

// journalStep says whether tries can be recorded.
func (b *Broker) journalStep() Step {
	step := Step{Layer: LayerJournal, Result: StepOK}
	switch {
	case b.cfg.Guard.Err() != nil:
		return failed(LayerJournal, "", token.NewError(token.KindOf(b.cfg.Guard.Err())))
	case b.found.Copied != "":
		step.Problem, step.Result = token.NewError(token.KindStateCopied), StepWarning
	case b.found.Unreadable > 0:
		step.Problem, step.Result = token.NewError(token.KindJournalSlotsLost, "count", strconv.Itoa(b.found.Unreadable)), StepWarning
	}
	return step
}

// logStep says whether records can be written.
func (b *Broker) logStep() Step {
	if err := b.cfg.Log.Err(); err != nil {
		return failed(LayerLog, "", token.NewError(token.KindOf(err)))
	}
	return Step{Layer: LayerLog, Result: StepOK, Count: b.cfg.Log.Count()}
}

func kindOf(e *token.Error) token.Kind {
	if e == nil {
		return ""
	}
	return e.Kind
}
