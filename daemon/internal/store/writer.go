package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// writer is the one connection that writes.
type writer struct {
	db                             *sql.DB
	insertAudit, saveCard, saveKey *sql.Stmt
}

// write runs one write. It is not cancelled half-way. After an I/O error or
// damage nothing is written any more: what a failed sync left on the disk is
// unknown.
func (s *Store) write(ctx context.Context, f func(context.Context, *writer) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.readOnly {
		return notWritable(s.path, "the database is open for reading only")
	}
	if s.broken != nil {
		return fmt.Errorf("nothing is written any more: %w", s.broken)
	}
	ctx = context.WithoutCancel(ctx)
	if s.writer == nil {
		w, err := openWriter(ctx, s.path)
		if err != nil {
			return asOpenError(s.path, err)
		}
		s.writer = w
	}
	err := asRunError(f(ctx, s.writer))
	if err != nil && isFatal(err) {
		s.broken = err
	}
	return err
}

// openWriter makes room for the write-ahead log and opens the connection.
func openWriter(ctx context.Context, path string) (*writer, error) {
	if err := reserveWAL(path); err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", writerName(path))
	if err != nil {
		return nil, fmt.Errorf("opening database for writing: %w", err)
	}
	db.SetMaxOpenConns(1)
	w := &writer{db: db}
	if err := w.settle(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return w, nil
}

// settle prepares the statements and makes sure that the settings on which
// durability stands took effect.
func (w *writer) settle(ctx context.Context) error {
	p := preparer{ctx: ctx, db: w.db}
	w.insertAudit = p.prepare(insertAudit)
	w.saveCard = p.prepare(saveCard)
	w.saveKey = p.prepare(saveKey)
	if p.err != nil {
		return p.err
	}
	var journal string
	var synchronous int
	if err := w.db.QueryRowContext(ctx, "PRAGMA journal_mode").Scan(&journal); err != nil {
		return fmt.Errorf("reading journal mode: %w", err)
	}
	if err := w.db.QueryRowContext(ctx, "PRAGMA synchronous").Scan(&synchronous); err != nil {
		return fmt.Errorf("reading synchronous mode: %w", err)
	}
	if journal != "wal" || synchronous != 2 {
		return fmt.Errorf("database works with journal_mode %s and synchronous %d, not wal and 2", journal, synchronous)
	}
	return nil
}

// writerName is the data source of the writer. synchronous 2 (FULL) syncs the
// write-ahead log at each commit; mode=rw never makes a file; a checkpoint,
// which costs two syncs more, comes every checkpointPages pages.
func writerName(path string) string {
	return sourceName(path, "rw", fmt.Sprintf("synchronous(2);wal_autocheckpoint(%d)", checkpointPages)) +
		"&_txlock=immediate"
}
