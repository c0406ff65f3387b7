package house

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/inkan-project/inkan/daemon/internal/audit"
	"github.com/inkan-project/inkan/daemon/internal/store"
	"github.com/inkan-project/inkan/pcsc/virtual/pivcard"
)

// tip is where a log ended.
type tip struct {
	sequence uint64
	hash     [32]byte
}

// Books is everything that an invariant is about, at one moment.
type Books struct {
	Records []audit.Record // of the log, from the first
	Chain   error          // why the log is not whole, or nil
	Truth   pivcard.Truth  // since the card came here
}

// Books reads the books of a house in which inkand runs and nobody calls.
func (h *House) Books(ctx context.Context) (b Books, err error) {
	if b.Truth, err = h.Truth(); err != nil {
		return b, err
	}
	b.Truth.Verifies -= h.base.Verifies
	b.Truth.Changes -= h.base.Changes
	b.Truth.UnlockVerifies -= h.base.UnlockVerifies
	db, err := store.Open(ctx, store.Config{Dir: h.State(), ReadOnly: true})
	if err != nil {
		return b, fmt.Errorf("reading the log: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	log, err := audit.Open(ctx, audit.Config{Storage: db.Audit(), Now: time.Now})
	if err != nil {
		b.Chain = err
		return b, nil
	}
	if b.Chain = log.Check(ctx); b.Chain != nil {
		return b, nil
	}
	for more := true; more; {
		var page []audit.Record
		filter := audit.Filter{After: uint64(len(b.Records)), Limit: 1000}
		if page, more, err = log.List(ctx, filter); err != nil {
			return b, err
		}
		b.Records = append(b.Records, page...)
	}
	return b, nil
}

// audit checks all that the books alone can show: I1 and I3 to I5.
func (h *House) audit(b Books) (f Findings) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if b.Chain != nil {
		f.add(5, "%v", b.Chain)
		return f
	}
	h.checkTip(b, &f)
	intents := h.checkIntents(b, &f)
	h.checkTries(b, intents, &f)
	h.checkSignatures(b, &f)
	return f
}

// checkTip holds the log against its end of the last time: a chain alone does
// not show that its end was cut off.
func (h *House) checkTip(b Books, f *Findings) {
	switch n := uint64(len(b.Records)); {
	case n < h.tip.sequence:
		f.add(5, "the log has %d records, it had %d", n, h.tip.sequence)
	case h.tip.sequence > 0 && b.Records[h.tip.sequence-1].Hash != h.tip.hash:
		f.add(5, "record %d is another one than it was", h.tip.sequence)
	case n > 0:
		h.tip = tip{n, b.Records[n-1].Hash}
	}
}

// spent is how many tries the intents of a log allow.
type spent struct{ pin, unlock, signatures int }

// checkIntents checks that each intent has one result.
func (h *House) checkIntents(b Books, f *Findings) (s spent) {
	results := map[uint64]int{}
	for _, r := range b.Records {
		if r.Kind == audit.KindResult {
			results[r.Intent]++
		}
	}
	for _, r := range b.Records {
		if r.Kind != audit.KindIntent {
			continue
		}
		if n := results[r.Sequence]; n != 1 {
			f.add(4, "intent %d (%s) has %d results", r.Sequence, r.Operation, n)
		}
		delete(results, r.Sequence)
		switch r.Operation {
		case "unlock":
			s.unlock++
		case "sign":
			s.signatures++
			if string(r.Key) != h.keys[noPIN] {
				s.pin++
			}
		default:
			s.pin++
		}
	}
	for intent := range results {
		f.add(4, "there is a result of %d, which is no intent", intent)
	}
	return s
}

// checkTries holds what the card saw against what was durable before.
func (h *House) checkTries(b Books, allowed spent, f *Findings) {
	pin, unlock := b.Truth.Verifies+b.Truth.Changes, b.Truth.UnlockVerifies
	if pin > allowed.pin {
		f.add(1, "the card saw %d PINs, the log has %d intents", pin, allowed.pin)
	}
	if unlock > allowed.unlock {
		f.add(1, "the card saw %d unlock codes, the log has %d intents", unlock, allowed.unlock)
	}
	j := h.journal
	if j.blind { // the log alone has to do
		return
	}
	if pin > j.pin+j.unreadable {
		f.add(1, "the card saw %d PINs, the journal had %d tries and %d unreadable slots", pin, j.pin, j.unreadable)
	}
	if unlock > j.unlock+j.unreadable {
		f.add(1, "the card saw %d unlock codes, the journal had %d tries and %d unreadable slots", unlock, j.unlock, j.unreadable)
	}
}

// checkSignatures holds together what the callers got, what the log says and
// what the card signed.
func (h *House) checkSignatures(b Books, f *Findings) {
	made := map[string]bool{}
	for _, s := range b.Truth.Signatures {
		made[s.SignatureSHA256] = true
	}
	recorded, unanswered := map[string]uint64{}, 0
	for _, r := range b.Records {
		if r.Kind != audit.KindResult || r.Operation != "sign" || r.Outcome != audit.OutcomeOK {
			continue
		}
		if n, twice := recorded[r.DocumentName]; twice {
			f.add(3, "records %d and %d are about the same %q", n, r.Sequence, r.DocumentName)
		}
		recorded[r.DocumentName] = r.Sequence
		switch c := h.calls[r.DocumentName]; {
		case c == nil || c.end == refused:
			f.add(3, "record %d says that %q was signed, its caller was told otherwise", r.Sequence, r.DocumentName)
		case c.end == cut:
			unanswered++
		}
	}
	if unanswered > h.unanswered+1 && !h.crowd {
		f.add(3, "one kill kept %d signatures back that the log says were released", unanswered-h.unanswered)
	}
	h.unanswered = unanswered
	for document, c := range h.calls {
		if c.end != got {
			continue
		}
		if recorded[document] != c.record || c.record == 0 {
			f.add(3, "%q was signed as record %d, the log has it as %d", document, c.record, recorded[document])
		}
		if !made[c.signature] {
			f.add(3, "the signature of %q is not one of the card's", document)
		}
	}
}
