package broker

import (
	"context"
	"errors"
	"sync"

	"github.com/inkan-project/inkan/daemon/internal/audit"
	"github.com/inkan-project/inkan/daemon/internal/failpoint"
	"github.com/inkan-project/inkan/daemon/internal/pinguard"
	"github.com/inkan-project/inkan/token"
)

// ledger writes the journal and the log together: each record has its slot.
// One barrier is under way at a time, so that a crash leaves at most one of
// them half done, and at a start the two differ by one at most.
type ledger struct {
	guard *pinguard.Guard
	log   *audit.Log
	mu    sync.Mutex // held for the whole of a barrier; guards the row count
}

// healthy returns why nothing can be recorded any more, or nil. It is asked
// before a person is, and before either half of a barrier is written.
func (l *ledger) healthy() error { return errors.Join(l.guard.Err(), l.log.Err()) }

// barrier makes a record and a slot durable, side by side. When it returns an
// error nothing may be done that they were meant to allow.
func (l *ledger) barrier(rec audit.Record, slot func(pinguard.AuditMark) error) (audit.Record, error) {
	written, err := l.barrierOf([]audit.Record{rec}, slot)
	if len(written) == 0 {
		return audit.Record{}, err
	}
	return written[0], err
}

// barrierOf is barrier for several records with one slot: a crash leaves all of
// them or none.
func (l *ledger) barrierOf(records []audit.Record, slot func(pinguard.AuditMark) error) ([]audit.Record, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.healthy(); err != nil {
		return nil, err
	}
	mark := pinguard.AuditMark{Rows: l.log.Count() + uint64(len(records)), Own: uint8(len(records))}
	var written []audit.Record
	var logErr, slotErr error
	// Nothing recovers in these two goroutines: a panic in the journal or the
	// log ends the process, whose state is on the disk.
	var wg sync.WaitGroup
	var slotAlone, recordAlone failpoint.Point
	var killsSlot, killsRecord bool
	if failpoint.Enabled { // asked before either begins: a half that is done counts
		slotAlone, recordAlone = alone(records[0].Kind)
		killsSlot, killsRecord = failpoint.Armed(slotAlone), failpoint.Armed(recordAlone)
	}
	wg.Go(func() {
		failpoint.Await(killsRecord)
		slotErr = slot(mark)
		failpoint.Hit(slotAlone)
	})
	wg.Go(func() {
		failpoint.Await(killsSlot)
		written, logErr = l.log.AppendAll(context.Background(), records)
		failpoint.Hit(recordAlone)
	})
	wg.Wait()
	if records[0].Kind == audit.KindEvent {
		failpoint.Hit(failpoint.EventDone)
	}
	return written, errors.Join(slotErr, logErr)
}

// alone returns the moments at which one half of a barrier is durable and the
// other is not.
func alone(kind audit.Kind) (slot, record failpoint.Point) {
	switch kind {
	case audit.KindIntent:
		return failpoint.DebitAlone, failpoint.IntentAlone
	case audit.KindResult:
		return failpoint.VerdictAlone, failpoint.ResultAlone
	case audit.KindStart, audit.KindStop, audit.KindRefused, audit.KindEvent:
	}
	return failpoint.MarkAlone, failpoint.EventAlone
}

// note makes a record durable that no try and no signature depends on.
func (l *ledger) note(rec audit.Record) error {
	_, err := l.barrier(rec, l.guard.Mark)
	return err
}

// abandon gives an attempt that will not be redeemed the verdict "none", where
// the journal still can: the try stays spent.
func (l *ledger) abandon(a *token.Attempt) error { return l.settle(a, token.Verdict{}) }

// settle gives an attempt its verdict before there is a result to record.
func (l *ledger) settle(a *token.Attempt, verdict token.Verdict) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.guard.Settle(a, verdict, pinguard.AuditMark{Rows: l.log.Count()})
}
