package broker

import (
	"context"
	"fmt"

	"github.com/inkan-project/inkan/daemon/internal/audit"
	"github.com/inkan-project/inkan/daemon/internal/pinguard"
	"github.com/inkan-project/inkan/token"
)

// Recover holds journal and log against each other after a start, closes what
// a crash left open and records what was found. It returns KindDatabaseDamaged
// if the log lost more than a crash can lose.
func (b *Broker) Recover(ctx context.Context, found pinguard.Recovery, start string) error {
	rows := b.cfg.Log.Count()
	// A crash may lose the rows of the one barrier that was under way.
	if rows+uint64(found.LastAudit.Own) < found.LastAudit.Rows {
		return token.Errorf(token.KindDatabaseDamaged, "it has %d records, but the PIN-try journal knows of %d", rows, found.LastAudit.Rows)
	}
	// It may also lose their slot. What the log has is known from here on, so
	// that one more crash before the next slot does not add to it.
	if rows > found.LastAudit.Rows {
		if err := b.cfg.Guard.Mark(pinguard.AuditMark{Rows: rows}); err != nil {
			return err
		}
	}
	intents, err := b.cfg.Log.OpenIntents(ctx)
	if err != nil {
		return err
	}
	events, err := b.cfg.Log.Events(ctx)
	if err != nil {
		return err
	}
	b.stops.load(events)
	for _, rec := range b.recoveryRecords(found, rows, intents, start) {
		if _, err := b.ledger.barrier(rec, b.cfg.Guard.Mark); err != nil {
			return err
		}
	}
	b.found = found
	return b.loadRequests(ctx)
}

// recoveryRecords returns what is to be recorded about a start.
func (b *Broker) recoveryRecords(found pinguard.Recovery, rows uint64, intents []audit.Record, start string) []audit.Record {
	records := []audit.Record{{Kind: audit.KindStart, Operation: "start", Virtual: b.cfg.Virtual, Detail: start}}
	event := func(card token.CardID, format string, args ...any) {
		records = append(records, audit.Record{
			Kind: audit.KindEvent, Operation: "recovery", Card: card, Detail: fmt.Sprintf(format, args...),
		})
	}
	if rows < found.LastAudit.Rows {
		event("", "a crash came while a record was being written; what it was about was not done")
	}
	if found.Unreadable > 0 {
		event("", "%d slots of the PIN-try journal are unreadable; each counts as a spent try of every card; the file is kept as %s", found.Unreadable, found.Kept)
	}
	if found.Copied != "" {
		event("", "the state directory was copied or restored: %s; every card is held", found.Copied)
	}
	for _, d := range found.Dangling {
		event(d.Card, "1 try unaccounted for: a crash came before the card's verdict on the %s; it counts as spent", d.Secret)
	}
	for _, intent := range intents {
		rec := intent
		rec.Kind, rec.Intent, rec.Outcome = audit.KindResult, intent.Sequence, audit.OutcomeUnknown
		rec.Detail = "a crash came before the result; nothing was released"
		records = append(records, rec)
	}
	return records
}

// Stopped records an orderly stop.
func (b *Broker) Stopped() error {
	return b.ledger.note(audit.Record{Kind: audit.KindStop, Operation: "stop", Virtual: b.cfg.Virtual})
}
