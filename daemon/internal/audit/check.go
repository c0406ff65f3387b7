package audit

import (
	"context"
	"fmt"

	"github.com/inkan-project/inkan/token"
)

// checkedAtOpen is how many of the newest records are checked at each start:
// enough for every record since the last start of a usual day, and a few
// milliseconds.
const checkedAtOpen = 1000

// Check reads the whole log as it is now and returns nil if it is one chain
// from the first record to the newest, or a [*token.Error] of kind
// DATABASE_DAMAGED that names the first bad record. It may run beside appends.
func (l *Log) Check(ctx context.Context) error {
	l.mu.Lock()
	end, hash := l.count.Load(), l.last
	l.mu.Unlock()
	return l.checkUpTo(ctx, Row{}, end, hash)
}

// checkEnd checks the newest records up to the last.
func (l *Log) checkEnd(ctx context.Context, last Row) error {
	if last.Sequence <= checkedAtOpen {
		return l.checkUpTo(ctx, Row{}, last.Sequence, last.Hash)
	}
	before := last.Sequence - checkedAtOpen
	anchor, err := l.storage.List(ctx, Filter{After: before - 1, Limit: 1})
	if err != nil {
		return fmt.Errorf("reading record %d: %w", before, err)
	}
	if len(anchor) != 1 || anchor[0].Sequence != before {
		return damaged(before, "it is missing")
	}
	if _, err := anchor[0].record(); err != nil {
		return err
	}
	return l.checkUpTo(ctx, anchor[0], last.Sequence, last.Hash)
}

// checkUpTo checks the chain behind start and that it ends with this hash.
func (l *Log) checkUpTo(ctx context.Context, start Row, end uint64, hash [32]byte) error {
	got, err := l.walk(ctx, start, end)
	if err != nil {
		return err
	}
	if got != hash {
		return damaged(end, "it is not the one that was written")
	}
	return nil
}

// walk checks the chain from the row behind start (the zero Row: from the
// first) to the row with sequence end, and returns that row's hash.
func (l *Log) walk(ctx context.Context, start Row, end uint64) ([32]byte, error) {
	at := start
	for at.Sequence < end {
		limit := min(maxLimit, end-at.Sequence)
		rows, err := l.storage.List(ctx, Filter{After: at.Sequence, Limit: int(limit)})
		if err != nil {
			return at.Hash, fmt.Errorf("reading the log behind record %d: %w", at.Sequence, err)
		}
		if len(rows) == 0 {
			return at.Hash, damaged(at.Sequence+1, "it is missing")
		}
		for _, row := range rows {
			if err := row.follows(at); err != nil {
				return at.Hash, err
			}
			at = row
		}
	}
	return at.Hash, nil
}

// follows checks a row and its place behind the row before.
func (r Row) follows(before Row) error {
	if r.Sequence != before.Sequence+1 {
		return damaged(before.Sequence+1, "it is missing")
	}
	if _, err := r.record(); err != nil {
		return err
	}
	if r.Prev != before.Hash {
		return damaged(r.Sequence, "it does not follow the record before it")
	}
	return nil
}

// missing names the first bad record of a log whose count is not the sequence
// of its newest row.
func (l *Log) missing(ctx context.Context, newest, count uint64) error {
	if _, err := l.walk(ctx, Row{}, newest); err != nil {
		return err
	}
	return token.Errorf(token.KindDatabaseDamaged, "the log has %d records but ends at %d", count, newest)
}
