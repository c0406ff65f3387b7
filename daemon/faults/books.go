package faults

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/inkan-project/inkan/daemon/internal/audit"
	"github.com/inkan-project/inkan/daemon/internal/broker"
	"github.com/inkan-project/inkan/daemon/internal/cardowner"
	"github.com/inkan-project/inkan/daemon/internal/pinguard"
	"github.com/inkan-project/inkan/daemon/internal/register"
	"github.com/inkan-project/inkan/daemon/internal/store"
	"github.com/inkan-project/inkan/token"
)

// books are all that inkand keeps on a disk, opened as its start opens them,
// but for the process around it.
type books struct {
	store    *store.Store
	log      *audit.Log
	register *register.Register
	guard    *pinguard.Guard
	found    pinguard.Recovery
	broker   *broker.Broker
}

// openBooks opens the database in dir and the journal on fsys. Nothing is
// written yet but what the journal needs.
func openBooks(ctx context.Context, dir string, fsys pinguard.FS) (b books, err error) {
	if b.store, err = store.Open(ctx, store.Config{Dir: dir}); err != nil {
		return b, err
	}
	if b.log, err = audit.Open(ctx, audit.Config{Storage: b.store.Audit(), Now: time.Now}); err != nil {
		return b, errors.Join(err, b.store.Close())
	}
	if b.register, err = register.Open(register.Config{Storage: b.store.Register(), Now: time.Now}); err != nil {
		return b, errors.Join(err, b.store.Close())
	}
	b.guard, b.found, err = pinguard.Open(pinguard.Config{FS: fsys, Now: time.Now, Records: b.log.Count(), Newest: b.log.Newest(), Slots: 64})
	if err != nil {
		return b, errors.Join(err, b.store.Close())
	}
	b.broker = broker.New(broker.Config{Cards: noCards{}, Register: b.register, Guard: b.guard, Log: b.log, Now: time.Now})
	return b, nil
}

// recoverBooks does what a start does once all is open.
func (b books) recoverBooks(ctx context.Context) error {
	if err := b.broker.Recover(ctx, b.found, "fault test"); err != nil {
		return fmt.Errorf("recovering: %w", err)
	}
	return nil
}

func (b books) close() error { return errors.Join(b.guard.Close(), b.store.Close()) }

// stopped returns which cards are stopped here.
func (b books) stopped(ctx context.Context) (map[token.CardID]bool, error) {
	cards, err := b.broker.Cards(ctx)
	stops := map[token.CardID]bool{}
	for _, c := range cards {
		if c.Stop != nil {
			stops[c.ID] = true
		}
	}
	return stops, err
}

// noCards is a PC without readers.
type noCards struct{}

func (noCards) Readers() []cardowner.Reader { return nil }

func (noCards) Card(id token.CardID) (cardowner.Card, error) {
	return cardowner.Card{}, token.NewError(token.KindCardNotFound, "card", string(id))
}

func (noCards) Use(_ context.Context, id token.CardID, _ func(context.Context, cardowner.Lease) error) error {
	return token.NewError(token.KindCardNotFound, "card", string(id))
}

func (noCards) Changed() (uint64, <-chan struct{}) { return 0, nil }

func (noCards) Service() *token.Error { return nil }

func (noCards) Settle(context.Context) {}

// recordsOf reads the whole log of the database in dir, and checks it.
func recordsOf(ctx context.Context, dir string) (records []audit.Record, err error) {
	db, err := store.Open(ctx, store.Config{Dir: dir, ReadOnly: true})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	log, err := audit.Open(ctx, audit.Config{Storage: db.Audit(), Now: time.Now})
	if err != nil {
		return nil, err
	}
	if err := log.Check(ctx); err != nil {
		return nil, err
	}
	return listAll(ctx, log)
}

// listAll returns all records of a log.
func listAll(ctx context.Context, log *audit.Log) (records []audit.Record, err error) {
	for more := true; more && err == nil; {
		var page []audit.Record
		page, more, err = log.List(ctx, audit.Filter{After: uint64(len(records)), Limit: 1000})
		records = append(records, page...)
	}
	return records, err
}
