package faults

import (
	"context"
	"slices"
	"time"

	"github.com/inkan-project/inkan/daemon/internal/audit"
	"github.com/inkan-project/inkan/daemon/internal/broker"
)

// rehearsal is a log in memory: what was read from a disk, and what is added.
type rehearsal []audit.Row

// inMemory is books whose log was copied into memory, so that a recovery of
// it syncs nothing: thousands of images are recovered.
func (b books) inMemory(ctx context.Context) (books, error) {
	var rows rehearsal
	for uint64(len(rows)) < b.log.Count() {
		more, err := b.store.Audit().List(ctx, audit.Filter{After: uint64(len(rows)), Limit: 1000})
		if err != nil {
			return b, err
		}
		rows = append(rows, more...)
	}
	var err error
	if b.log, err = audit.Open(ctx, audit.Config{Storage: &rows, Now: time.Now}); err != nil {
		return b, err
	}
	b.broker = broker.New(broker.Config{Cards: noCards{}, Register: b.register, Guard: b.guard, Log: b.log, Now: time.Now})
	return b, nil
}

// Tail implements audit.Storage.
func (m *rehearsal) Tail(context.Context) (audit.Row, uint64, error) {
	if len(*m) == 0 {
		return audit.Row{}, 0, nil
	}
	return (*m)[len(*m)-1], uint64(len(*m)), nil
}

// Append implements audit.Storage.
func (m *rehearsal) Append(_ context.Context, rows ...audit.Row) error {
	*m = append(*m, rows...)
	return nil
}

// List implements audit.Storage. Nobody here asks for less than a whole page
// from the first.
func (m *rehearsal) List(_ context.Context, f audit.Filter) ([]audit.Row, error) {
	rows := (*m)[min(int(f.After), len(*m)):]
	return rows[:min(f.Limit, len(rows))], nil
}

// Events implements audit.Storage.
func (m *rehearsal) Events(context.Context) ([]audit.Row, error) {
	return slices.DeleteFunc(slices.Clone(*m), func(r audit.Row) bool { return r.Kind != audit.KindEvent }), nil
}

// OpenIntents implements audit.Storage.
func (m *rehearsal) OpenIntents(context.Context) ([]audit.Row, error) {
	ended := map[uint64]bool{}
	for _, r := range *m {
		ended[r.Intent] = true
	}
	return slices.DeleteFunc(slices.Clone(*m), func(r audit.Row) bool {
		return r.Kind != audit.KindIntent || ended[r.Sequence]
	}), nil
}
