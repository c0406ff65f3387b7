package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/inkan-project/inkan/token"
)

// Config is what a [Log] needs. Both fields are required.
type Config struct {
	Storage Storage
	Now     func() time.Time // wall clock
}

// Log appends to one storage and reads it. It is safe for concurrent use; no
// other writer may use the storage.
type Log struct {
	storage Storage
	now     func() time.Time
	newest  uint64        // see Newest
	count   atomic.Uint64 // written under mu

	mu     sync.Mutex // guards the fields that follow, and the order of appends
	last   [32]byte   // hash of the newest row
	poison error      // why the log is closed for good, or nil
}

// Open reads the end of the log and checks it: the chain of the last 1,000
// records, and that none is missing. It returns a [*token.Error] of kind
// DATABASE_DAMAGED that names the first bad record, or the storage's error.
func Open(ctx context.Context, c Config) (*Log, error) {
	if c.Storage == nil || c.Now == nil {
		return nil, errors.New("audit log needs a storage and a clock")
	}
	l := &Log{storage: c.Storage, now: c.Now}
	last, count, err := l.storage.Tail(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the end of the log: %w", err)
	}
	if last.Sequence != count {
		return nil, l.missing(ctx, last.Sequence, count)
	}
	if err := l.checkEnd(ctx, last); err != nil {
		return nil, err
	}
	if count > 0 {
		newest, err := last.record()
		if err != nil {
			return nil, err
		}
		l.newest = max(1, uint64(newest.Together))
	}
	l.count.Store(count)
	l.last = last.Hash
	return l, nil
}

// Append writes a record and returns it with Sequence, Time and Hash set. When
// it returns nil the record survives a loss of power.
//
// A context that is done before the write starts writes nothing; later it
// changes nothing, for a record is written whole. Any failure of the storage
// closes the log for the life of the process: this call and every later one
// returns a [*token.Error] of kind AUDIT_UNAVAILABLE, because after a failed
// sync nobody knows what is on the disk, and trying again could hide a loss.
// A record that cannot be is of kind INTERNAL and leaves the log as it was.
func (l *Log) Append(ctx context.Context, r Record) (Record, error) {
	written, err := l.AppendAll(ctx, []Record{r})
	if err != nil {
		return Record{}, err
	}
	return written[0], nil
}

// maxTogether is how many records are written together.
const maxTogether = 8

// AppendAll is Append for some records, with one sync: a crash leaves all of
// them or none.
func (l *Log) AppendAll(ctx context.Context, list []Record) ([]Record, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.poison != nil {
		return nil, token.NewError(token.KindAuditUnavailable).Because(l.poison)
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("appending to the log: %w", err)
	}
	if len(list) == 0 || len(list) > maxTogether {
		return nil, token.Errorf(token.KindInternal, "%d records at once", len(list))
	}
	written, rows := make([]Record, 0, len(list)), make([]Row, 0, len(list))
	count, last := l.count.Load(), l.last
	for _, r := range list {
		r.Together = 0
		if len(list) > 1 {
			r.Together = uint8(len(list))
		}
		r, row, err := l.follow(r, count, last)
		if err != nil {
			return nil, err
		}
		written, rows = append(written, r), append(rows, row)
		count, last = row.Sequence, row.Hash
	}
	if err := l.storage.Append(context.WithoutCancel(ctx), rows...); err != nil {
		l.poison = fmt.Errorf("appending record %d: %w", l.count.Load()+1, err)
		return nil, token.NewError(token.KindAuditUnavailable).Because(l.poison)
	}
	l.last = last
	l.count.Store(count)
	return written, nil
}

// follow makes the row of a record that follows the one with this sequence and
// hash.
func (l *Log) follow(r Record, count uint64, last [32]byte) (Record, Row, error) {
	if err := r.possible(count); err != nil {
		return Record{}, Row{}, err
	}
	r = r.normal()
	r.Time = l.now().UTC().Round(0)
	row, err := r.row()
	if err != nil {
		return Record{}, Row{}, token.NewError(token.KindInternal).Because(err)
	}
	row.Sequence, row.Prev = count+1, last
	row.Hash = row.sum()
	r.Sequence, r.Hash = row.Sequence, row.Hash
	return r, row, nil
}

// possible returns an error for a record that no caller should make.
func (r Record) possible(count uint64) error {
	switch {
	case !r.Kind.known():
		return token.Errorf(token.KindInternal, "record of kind %q", r.Kind)
	case r.Kind == KindResult && (r.Intent == 0 || r.Intent > count):
		return token.Errorf(token.KindInternal, "result of intent %d, but the log ends at %d", r.Intent, count)
	case r.Kind != KindResult && r.Intent != 0:
		return token.Errorf(token.KindInternal, "record of kind %q with an intent", r.Kind)
	case len(r.Digest) > 64: // SHA-512, the longest that is signed
		return token.Errorf(token.KindInternal, "record with a digest of %d bytes", len(r.Digest))
	case len(r.Answer) > MaxAnswer || len(r.Answer) > 0 && !json.Valid(r.Answer):
		return token.Errorf(token.KindInternal, "record with an answer of %d bytes", len(r.Answer))
	case r.Request != nil && (r.Request.ID == "" || len(r.Request.ID) > 64 || !utf8.ValidString(r.Request.ID)):
		return token.Errorf(token.KindInternal, "record of a request without a proper name")
	}
	return nil
}

// Err returns the error that every Append returns once the log could not be
// written; nil before.
func (l *Log) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.poison != nil {
		return token.NewError(token.KindAuditUnavailable).Because(l.poison)
	}
	return nil
}

// Newest returns how many records were written together with the newest one
// when the log was opened, itself among them: so many at once may a crash have
// kept from being known elsewhere.
func (l *Log) Newest() uint64 { return l.newest }

// Count returns the number of records, which is the sequence of the newest.
func (l *Log) Count() uint64 { return l.count.Load() }

// OpenIntents returns the intents that have no result, oldest first. At start
// these are what a crash left behind.
func (l *Log) OpenIntents(ctx context.Context) ([]Record, error) {
	rows, err := l.storage.OpenIntents(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading open intents: %w", err)
	}
	return records(rows)
}

// Events returns all records of KindEvent, oldest first.
func (l *Log) Events(ctx context.Context) ([]Record, error) {
	rows, err := l.storage.Events(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading events: %w", err)
	}
	return records(rows)
}

// Record returns one record, checked by itself. One that is not there is a
// [*token.Error] of kind DATABASE_DAMAGED: nothing deletes a record.
func (l *Log) Record(ctx context.Context, sequence uint64) (Record, error) {
	page, _, err := l.List(ctx, Filter{After: sequence - 1, Limit: 1})
	if err == nil && (len(page) != 1 || page[0].Sequence != sequence) {
		return Record{}, damaged(sequence, "it is missing")
	}
	if err != nil {
		return Record{}, err
	}
	return page[0], nil
}

// List returns one page of records, oldest first, and whether more follow the
// last of them. Each record is checked by itself; [Log.Check] checks that none
// is missing.
func (l *Log) List(ctx context.Context, f Filter) (page []Record, more bool, err error) {
	f = f.bounded()
	ask := f
	if !f.Newest { // one more than wanted, to know whether there is one
		ask.Limit++
	}
	rows, err := l.storage.List(ctx, ask)
	if err != nil {
		return nil, false, fmt.Errorf("reading the log: %w", err)
	}
	if len(rows) > f.Limit {
		rows, more = rows[:f.Limit], true
	}
	page, err = records(rows)
	if err != nil {
		return nil, false, err
	}
	return page, more, nil
}

// records decodes rows.
func records(rows []Row) ([]Record, error) {
	list := make([]Record, 0, len(rows))
	for _, row := range rows {
		r, err := row.record()
		if err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	return list, nil
}
