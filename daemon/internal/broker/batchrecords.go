package broker

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/inkan-project/inkan/daemon/internal/audit"
	"github.com/inkan-project/inkan/daemon/internal/pinguard"
	"github.com/inkan-project/inkan/token"
)

// write is one barrier of the batch.
func (s *batch) write(rec audit.Record, slot func(pinguard.AuditMark) error) (uint64, error) {
	written, err := s.op.b.ledger.barrier(rec, slot)
	if err != nil {
		s.broken = true
	}
	return written.Sequence, err
}

// intent records the intent of a document.
func (s *batch) intent(i int, slot func(pinguard.AuditMark) error) error {
	s.begun = i + 1
	sequence, err := s.write(s.intentOf(i), slot)
	if err == nil {
		s.intents = append(s.intents, sequence)
	}
	return err
}

func (s *batch) intentOf(i int) audit.Record {
	rec := s.of(i, audit.KindIntent)
	if s.op.secret != 0 && (s.always || i == 0) {
		rec.Detail += fmt.Sprintf(", the %s came from: %s", s.op.secret, s.op.entered.source)
	}
	return rec
}

// result records what was made, with the intent of the next document (0: none),
// and lets it out. Without an error of the log, an error says that it may not
// leave; nothing is written then.
func (s *batch) result(next int) error {
	var records []audit.Record
	left := func() {}
	if s.made != nil {
		if err := s.op.caller.check(); err != nil {
			return err
		}
		var err error
		if left, err = s.op.b.stops.release(s.op.id()); err != nil {
			return err
		}
		rec := s.of(s.done, audit.KindResult)
		rec.Intent, rec.Outcome = s.intents[s.done], audit.OutcomeOK
		answer{Signature: s.made, Certificate: uint8(s.with.state), End: s.done+1 == len(s.documents)}.into(&rec)
		records = append(records, rec)
	}
	if next > 0 {
		records, s.begun = append(records, s.intentOf(next)), next+1
	}
	if len(records) == 0 {
		return nil
	}
	written, err := s.op.b.ledger.barrierOf(records, s.op.b.cfg.Guard.Mark)
	if err != nil {
		s.broken = true
		left()
		return err
	}
	if next > 0 {
		s.intents = append(s.intents, written[len(written)-1].Sequence)
	}
	if s.made != nil {
		s.let(written[0].Sequence, left)
	}
	return nil
}

// let lets out what was made, now that its result is durable.
func (s *batch) let(record uint64, left func()) {
	signed := Signed{
		Index: s.done, Signature: Signature{Bytes: s.made, Record: record, Warning: s.with.state}, Left: left,
	}
	s.done, s.made = s.done+1, nil
	if gone := s.op.caller.check(); gone == nil {
		s.send(signed)
	} else { // the next look at the caller ends the batch
		left()
	}
}

// failed records that a document that was begun has no signature.
func (s *batch) failed(i int, cause error, tries token.Tries) error {
	rec := s.of(i, audit.KindResult)
	rec.Intent, rec.Outcome, rec.Code = s.intents[i], audit.OutcomeFailed, string(token.KindOf(cause))
	if i > s.done {
		rec.Detail += ", ended with the document before"
	}
	if s.attempt != nil {
		rec.Tries = tries
	}
	a := failure(cause)
	a.End = i == len(s.intents)-1
	a.into(&rec)
	_, err := s.write(rec, s.slot)
	return err
}

// of is a record of one document.
func (s *batch) of(i int, kind audit.Kind) audit.Record {
	rec := s.op.record
	rec.Kind, rec.Digest, rec.DocumentName = kind, s.documents[i].Digest, s.documents[i].Name
	rec.Detail = fmt.Sprintf("%s%d of %d", document, i+1, len(s.documents))
	return rec
}

// document begins what a record says of its place in a batch.
const document = "document "

// isFirstOfBatch reports whether a record is the intent of the first document of
// a batch: the others follow it.
func isFirstOfBatch(rec audit.Record) bool {
	return rec.Kind == audit.KindIntent && rec.Operation == signBatch && strings.HasPrefix(rec.Detail, document+"1 of ")
}

// batchBefore lets the signatures of a batch out once more and says how it
// ended. rec is its first intent.
func (b *Broker) batchBefore(ctx context.Context, caller Caller, rec audit.Record, documents int, send func(Signed)) (BatchEnd, error) {
	intents, results, err := b.batchRecords(ctx, rec, documents)
	if err != nil {
		return BatchEnd{}, err
	}
	done := 0
	for done < len(intents) && results[intents[done]].Outcome == audit.OutcomeOK {
		done++
	}
	var failure error
	unknown := 0
	if done < len(intents) {
		failure = unknownSince(intents[done])
		unknown = len(intents) - done
		if result := results[intents[done]]; result.Outcome == audit.OutcomeFailed {
			failure, unknown = refusalIn(result), 0
		}
	}
	end := endOf(documents, done, unknown)
	for i, intent := range intents[:done] {
		again, err := b.signedBefore(caller, results[intent])
		if err != nil {
			return end, err
		}
		again.Index = i
		send(again)
	}
	return end, failure
}

// batchRecords returns the intents of a batch, in the order of its documents,
// and the results by intent. The first intent is known. The batch ends with its
// last document, with a result that says so, or with what a start wrote about
// it.
func (b *Broker) batchRecords(ctx context.Context, first audit.Record, documents int) (intents []uint64, results map[uint64]audit.Record, err error) {
	results = map[uint64]audit.Record{}
	for after, more, restarted := first.Sequence-1, true, false; more && len(results) < documents; {
		var page []audit.Record
		page, more, err = b.cfg.Log.List(ctx, audit.Filter{After: after, Limit: loadPage})
		if err != nil {
			return nil, nil, fmt.Errorf("reading the records of a batch: %w", err)
		}
		for _, rec := range page {
			after = rec.Sequence
			own := rec.Request != nil && *rec.Request == *first.Request && rec.UID == first.UID && rec.Operation == first.Operation
			restarted = restarted || rec.Kind == audit.KindStart
			switch {
			case own && rec.Kind == audit.KindIntent:
				intents = append(intents, rec.Sequence)
			case own && slices.Contains(intents, rec.Intent):
				results[rec.Intent] = rec
				if a, err := answerIn(rec); err != nil || a.End {
					return intents, results, err
				}
			case restarted && rec.Kind == audit.KindIntent: // the start is over
				return intents, results, nil
			}
		}
	}
	return intents, results, nil
}
