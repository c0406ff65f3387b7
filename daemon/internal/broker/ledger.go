package broker

import (
	"context"
	"errors"
	"sync"

	"github.com/inkan-project/inkan/daemon/internal/audit"
	"github.com/inkan-project/inkan/daemon/internal/pinguard"
)

// ledger writes the journal and the log together. One barrier is under way at
// a time, so that a crash leaves at most one of them half done: the journal
// then knows of exactly this barrier's rows more than the log has.
type ledger struct {
	guard *pinguard.Guard
	log   *audit.Log
	mu    sync.Mutex // held for the whole of a barrier; guards the row count
}

// barrier makes a record and a slot durable, side by side. When it returns an
// error nothing may be done that they were meant to allow.
func (l *ledger) barrier(rec audit.Record, slot func(pinguard.AuditMark) error) (audit.Record, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	mark := pinguard.AuditMark{Rows: l.log.Count() + 1, Own: 1}
	var written audit.Record
	var logErr, slotErr error
	// Callers hold a card: they run in its owner's goroutine, where nothing
	// recovers, as in the other one here. A panic in the journal or the log
	// ends the process, whose state is on the disk.
	var wg sync.WaitGroup
	wg.Go(func() { slotErr = slot(mark) })
	written, logErr = l.log.Append(context.Background(), rec)
	wg.Wait()
	return written, errors.Join(slotErr, logErr)
}

// note makes a record durable that no try and no signature depends on.
func (l *ledger) note(rec audit.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var err error
	var wg sync.WaitGroup
	wg.Go(func() { _, err = l.log.Append(context.Background(), rec) })
	wg.Wait()
	return err
}
