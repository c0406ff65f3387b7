// Package audittest is for tests: a storage in memory, and the suite that
// keeps it and every other storage of the log honest.
//
// It guarantees that a [Memory] behaves like a database as far as package audit
// can tell, because both pass [TestStorage]. A caller sets [Memory.Fault] to
// see what a broken disk does.
package audittest

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/inkan-project/inkan/daemon/internal/audit"
)

// Memory is an audit.Storage that forgets. The zero value is empty.
type Memory struct {
	// Fault, if set, is asked before each append. If it returns an error the
	// append fails with it; kept says whether the row got there all the same,
	// as after a failed sync.
	Fault func(audit.Row) (kept bool, err error)

	mu   sync.Mutex // guards rows
	rows []audit.Row
}

// Rows returns a copy of all rows, in order of sequence.
func (m *Memory) Rows() []audit.Row {
	m.mu.Lock()
	defer m.mu.Unlock()
	return copyRows(m.rows)
}

// Tail implements audit.Storage.
func (m *Memory) Tail(ctx context.Context) (audit.Row, uint64, error) {
	rows := m.Rows()
	if err := ctx.Err(); err != nil || len(rows) == 0 {
		return audit.Row{}, 0, err
	}
	return rows[len(rows)-1], uint64(len(rows)), nil
}

// Append implements audit.Storage.
func (m *Memory) Append(ctx context.Context, rows ...audit.Row) error {
	for _, row := range rows {
		if m.Fault == nil {
			break
		}
		if kept, err := m.Fault(row); err != nil {
			if kept {
				_ = m.insert(rows)
			}
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return m.insert(rows)
}

// insert puts all rows in, or none.
func (m *Memory) insert(rows []audit.Row) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := slices.Clone(m.rows)
	for _, row := range rows {
		at, there := slices.BinarySearchFunc(all, row.Sequence, func(r audit.Row, sequence uint64) int {
			return int(r.Sequence) - int(sequence)
		})
		if there || row.Sequence == 0 {
			return errors.New("sequence is there already, or zero")
		}
		all = slices.Insert(all, at, copyRows([]audit.Row{row})...)
	}
	m.rows = all
	return nil
}

// List implements audit.Storage.
func (m *Memory) List(ctx context.Context, f audit.Filter) ([]audit.Row, error) {
	rows := slices.DeleteFunc(m.Rows(), func(r audit.Row) bool {
		return r.Sequence <= f.After || f.UID != nil && (!r.HasUID || r.UID != *f.UID)
	})
	if f.Newest {
		return rows[max(0, len(rows)-f.Limit):], ctx.Err()
	}
	return rows[:min(len(rows), f.Limit)], ctx.Err()
}

// Events implements audit.Storage.
func (m *Memory) Events(ctx context.Context) ([]audit.Row, error) {
	return slices.DeleteFunc(m.Rows(), func(r audit.Row) bool { return r.Kind != audit.KindEvent }), ctx.Err()
}

// OpenIntents implements audit.Storage.
func (m *Memory) OpenIntents(ctx context.Context) ([]audit.Row, error) {
	rows := m.Rows()
	closed := map[uint64]bool{}
	for _, r := range rows {
		if r.Kind == audit.KindResult {
			closed[r.Intent] = true
		}
	}
	open := slices.DeleteFunc(rows, func(r audit.Row) bool {
		return r.Kind != audit.KindIntent || closed[r.Sequence]
	})
	return open, ctx.Err()
}

// copyRows copies the bodies too, so that nobody changes a stored row.
func copyRows(rows []audit.Row) []audit.Row {
	out := slices.Clone(rows)
	for i := range out {
		out[i].Body = slices.Clone(out[i].Body)
	}
	return out
}
