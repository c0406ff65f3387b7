package broker

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/inkan-project/inkan/daemon/internal/audit"
	"github.com/inkan-project/inkan/daemon/internal/requests"
	"github.com/inkan-project/inkan/token"
)

// RequestID is what a caller calls its request, so that asked twice it is done
// once (docs/decisions/0008-request-id.md).
type RequestID struct {
	ID     string // "" = the request has no name: asked twice it is done twice
	Repeat bool   // only ask for the answer: begin nothing
}

// turn is the right to do a request. The zero value is that of one without a
// name.
type turn struct {
	request *audit.Request // what records of it say, or nil
	intent  uint64         // record of what was begun, 0: nothing
	answer  uint64         // record with the answer, 0: there is none
}

// once does what was not asked for before, and repeats the answer to what was.
// rec is what is recorded when it is refused before anything else could be, and
// Operation is its method; fields are the content of the request. again makes
// the first answer out of its record: who calls now must be let have it.
func once[T any](ctx context.Context, b *Broker, caller Caller, rec audit.Record, fields []string, do func(*turn) (T, error), again func(audit.Record) (T, error)) (T, error) {
	var none T
	switch {
	case caller.Request == RequestID{}:
		return do(&turn{})
	case !isName(caller.Request.ID):
		return none, token.Errorf(token.KindRequestInvalid, "request_id: 1 to %d printable ASCII characters", maxName)
	}
	// A program is not given what another one asked for, though its user is
	// the same.
	content := contentOf(append(fields, caller.Program))
	key := requests.Key{UID: caller.UID, Method: rec.Operation, ID: caller.Request.ID}
	mine, record, err := b.requests.Begin(ctx, key, content, caller.Request.Repeat)
	if token.KindOf(err) == token.KindRequestIDsUsedUp && (key.Method == stopHere || key.Method == lift) {
		return do(&turn{}) // a lost card comes first, and twice is as good as once
	}
	if err != nil {
		return none, err
	}
	if mine == nil {
		told, err := b.answered(ctx, record, content)
		if err != nil {
			return none, err
		}
		return again(told)
	}
	t := &turn{request: &audit.Request{ID: key.ID, Content: content}}
	defer func() { mine.End(t.stands()) }() // also when a handler panics
	out, err := do(t)
	if err != nil && t.stands() == 0 && !abandoned(err) {
		t.refused(b, rec, err)
	}
	return out, err
}

// maxName is the longest name of a request.
const maxName = 64

func isName(id string) bool {
	return id != "" && len(id) <= maxName && !strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' })
}

// stands returns the record where the answer stands. That of an intent without
// a result says that it is not known.
func (t *turn) stands() uint64 {
	if t.answer != 0 {
		return t.answer
	}
	return t.intent
}

// refused records that nothing was begun.
func (t *turn) refused(b *Broker, rec audit.Record, cause error) {
	rec.Request = t.request
	if abandoned(cause) {
		rec.Request = nil
	}
	written := b.refused(rec, cause)
	if rec.Request != nil {
		t.answer = written
	}
}

// abandoned reports whether a call ended because nobody waited for it any more.
// Where nothing was begun then nobody was answered, and the name of the request
// is free again.
func abandoned(cause error) bool {
	switch token.KindOf(cause) {
	case token.KindCallEnded, token.KindCallerGone, token.KindShuttingDown:
		return true
	default:
		return errors.Is(cause, context.Canceled) || errors.Is(cause, context.DeadlineExceeded)
	}
}

// answered returns the record of an answer, or the refusal that it was.
func (b *Broker) answered(ctx context.Context, record uint64, content [sha256.Size]byte) (audit.Record, error) {
	rec, err := b.cfg.Log.Record(ctx, record)
	switch {
	case err != nil:
		return audit.Record{}, err
	case rec.Request == nil || rec.Request.Content != content:
		return audit.Record{}, token.NewError(token.KindRequestIDReused)
	case isFirstOfBatch(rec): // its results follow it
		return rec, nil
	case rec.Kind == audit.KindIntent || rec.Outcome == audit.OutcomeUnknown:
		return audit.Record{}, unknownSince(rec.Sequence)
	case rec.Code != "":
		return audit.Record{}, refusalIn(rec)
	}
	return rec, nil
}

// unknownSince is the refusal of a request of which nobody knows how it ended.
func unknownSince(record uint64) error {
	return token.Errorf(token.KindOutcomeUnknown, "record %d", record).InJapanese(fmt.Sprintf("記録 %d", record))
}

// contentOf is SHA-256 over the fields, each behind its length in bytes as a
// 64-bit big-endian number, so that no two lists of fields are the same bytes.
func contentOf(fields []string) [sha256.Size]byte {
	b := []byte("inkan request v1\x00")
	for _, field := range fields {
		b = binary.BigEndian.AppendUint64(b, uint64(len(field)))
		b = append(b, field...)
	}
	return sha256.Sum256(b)
}

// holdsAnswer reports whether the answer to a request begins with this record:
// that to a batch begins with its first intent, where it has any.
func holdsAnswer(rec audit.Record) bool {
	switch {
	case rec.Request == nil:
		return false
	case rec.Operation == signBatch:
		return isFirstOfBatch(rec) || rec.Kind == audit.KindRefused
	}
	return rec.Kind != audit.KindIntent
}

// loadPage is how many records are read at once.
const loadPage = 1000

// loadRequests takes the requests of the last day out of the log. It ends with
// a page of records that are all older.
func (b *Broker) loadRequests(ctx context.Context) error {
	var pages [][]audit.Record
	now := b.cfg.Now()
	for end, young := b.cfg.Log.Count(), true; end > 0 && young; {
		after := end - min(end, loadPage)
		page, _, err := b.cfg.Log.List(ctx, audit.Filter{After: after, Limit: int(end - after)})
		if err != nil {
			return fmt.Errorf("reading the requests of the last day: %w", err)
		}
		young = false
		var of []audit.Record
		for _, rec := range page {
			young = young || now.Sub(rec.Time) < requests.Kept
			if holdsAnswer(rec) {
				of = append(of, audit.Record{
					Sequence: rec.Sequence, Time: rec.Time, Operation: rec.Operation, UID: rec.UID, Request: rec.Request,
				})
			}
		}
		pages, end = append(pages, of), after
	}
	for i := len(pages) - 1; i >= 0; i-- {
		for _, rec := range pages[i] {
			age := now.Sub(rec.Time).Truncate(time.Second)
			b.requests.Load(requests.Key{UID: rec.UID, Method: rec.Operation, ID: rec.Request.ID}, rec.Sequence, age)
		}
	}
	return nil
}
