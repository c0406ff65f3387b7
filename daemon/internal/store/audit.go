package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/inkan-project/inkan/daemon/internal/audit"
)

var _ audit.Storage = (*Audit)(nil)

// Audit is the storage of the log: an [audit.Storage].
type Audit struct {
	store                     *Store
	tail, open, events        *sql.Stmt
	list, listUID             *sql.Stmt
	listNewest, listNewestUID *sql.Stmt
}

const (
	insertAudit  = "INSERT INTO audit (sequence, uid, kind, intent, body, prev, hash) VALUES (?, ?, ?, ?, ?, ?, ?)"
	auditColumns = "SELECT sequence, uid, kind, intent, body, prev, hash FROM audit "
)

func newAudit(ctx context.Context, s *Store) (*Audit, error) {
	a := &Audit{store: s}
	p := preparer{ctx: ctx, db: s.readers}
	a.tail = p.prepare("SELECT sequence, uid, kind, intent, body, prev, hash, (SELECT count(*) FROM audit) FROM audit ORDER BY sequence DESC LIMIT 1")
	a.list = p.prepare(auditColumns + "WHERE sequence > ? ORDER BY sequence LIMIT ?")
	a.listUID = p.prepare(auditColumns + "WHERE sequence > ? AND uid = ? ORDER BY sequence LIMIT ?")
	a.listNewest = p.prepare(auditColumns + "WHERE sequence > ? ORDER BY sequence DESC LIMIT ?")
	a.listNewestUID = p.prepare(auditColumns + "WHERE sequence > ? AND uid = ? ORDER BY sequence DESC LIMIT ?")
	// Once at each start, from the table: its rows are chained, an index is not.
	a.open = p.prepare(auditColumns + `NOT INDEXED WHERE kind = 'intent' AND sequence NOT IN
		(SELECT intent FROM audit NOT INDEXED WHERE kind = 'result') ORDER BY sequence`)
	a.events = p.prepare(auditColumns + "NOT INDEXED WHERE kind = 'event' ORDER BY sequence")
	return a, p.err
}

// Append implements audit.Storage: one transaction, one sync.
func (a *Audit) Append(ctx context.Context, rows ...audit.Row) error {
	for _, row := range rows {
		if row.Sequence > math.MaxInt64 || row.Intent > math.MaxInt64 {
			return fmt.Errorf("record %d: number out of range", row.Sequence)
		}
	}
	return a.store.write(ctx, func(ctx context.Context, w *writer) error {
		if len(rows) == 1 { // an insert is a transaction of its own
			return insertRow(ctx, w.insertAudit, rows[0])
		}
		tx, err := w.db.BeginTx(ctx, nil)
		if err != nil {
			return fmt.Errorf("beginning: %w", err)
		}
		insert := tx.StmtContext(ctx, w.insertAudit)
		for _, row := range rows {
			if err := insertRow(ctx, insert, row); err != nil {
				return errors.Join(err, tx.Rollback())
			}
		}
		return tx.Commit()
	})
}

func insertRow(ctx context.Context, insert *sql.Stmt, row audit.Row) error {
	var uid any
	if row.HasUID {
		uid = int64(row.UID)
	}
	_, err := insert.ExecContext(ctx, int64(row.Sequence), uid, string(row.Kind), int64(row.Intent), row.Body, row.Prev[:], row.Hash[:])
	return err
}

// Tail implements audit.Storage.
func (a *Audit) Tail(ctx context.Context) (last audit.Row, count uint64, err error) {
	rows, err := readAll(ctx, a.tail, func(s scanner) (audit.Row, error) { return scanRow(s, &count) })
	if err != nil || len(rows) == 0 {
		return audit.Row{}, 0, err
	}
	return rows[0], count, nil
}

// List implements audit.Storage.
func (a *Audit) List(ctx context.Context, f audit.Filter) ([]audit.Row, error) {
	after := int64(min(f.After, math.MaxInt64))
	statement, args := a.list, []any{after, f.Limit}
	switch {
	case f.UID != nil && f.Newest:
		statement, args = a.listNewestUID, []any{after, int64(*f.UID), f.Limit}
	case f.UID != nil:
		statement, args = a.listUID, []any{after, int64(*f.UID), f.Limit}
	case f.Newest:
		statement = a.listNewest
	}
	rows, err := readAll(ctx, statement, scanAudit, args...)
	if f.Newest {
		slices.Reverse(rows)
	}
	return rows, err
}

// OpenIntents implements audit.Storage.
func (a *Audit) OpenIntents(ctx context.Context) ([]audit.Row, error) {
	return readAll(ctx, a.open, scanAudit)
}

// Events implements audit.Storage.
func (a *Audit) Events(ctx context.Context) ([]audit.Row, error) {
	return readAll(ctx, a.events, scanAudit)
}

// scanAudit reads one row of the log.
func scanAudit(s scanner) (audit.Row, error) { return scanRow(s) }

// scanRow reads one row of the log and what else the query returns.
func scanRow(s scanner, extra ...any) (audit.Row, error) {
	var row audit.Row
	var uid sql.Null[uint32]
	var prev, hash []byte
	dest := append([]any{&row.Sequence, &uid, (*string)(&row.Kind), &row.Intent, &row.Body, &prev, &hash}, extra...)
	if err := s.Scan(dest...); err != nil {
		return audit.Row{}, err
	}
	row.HasUID, row.UID = uid.Valid, uid.V
	if len(prev) != len(row.Prev) || len(hash) != len(row.Hash) {
		return audit.Row{}, damaged("record %d of the log: a hash of it is not 32 bytes long", row.Sequence)
	}
	copy(row.Prev[:], prev)
	copy(row.Hash[:], hash)
	return row, nil
}
