// Package store keeps the log and the register in one SQLite database, the
// file inkan.db in the state directory.
//
// It guarantees that a row is durable when a write returns, that a damaged
// database is refused and left byte for byte as it was, and that a row of the
// register which does not fit the hash of its content is never returned. It
// does not check the chain of the log: package audit does.
//
// A caller holds the lock on the state directory before [Open], makes that
// directory (nobody else may write to it), and calls [Store.Close] last.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"

	_ "modernc.org/sqlite" // registers the driver "sqlite"

	"github.com/inkan-project/inkan/token"
)

// Config says where the database is.
type Config struct {
	// Dir is the state directory. It must exist.
	Dir string
	// ReadOnly opens a database that is there for reading, also beside a
	// service that writes to it. Every write is an error.
	ReadOnly bool
}

// Store is an open database. It is safe for concurrent use.
type Store struct {
	writer   *sql.DB // one connection; nil if read-only
	readers  *sql.DB
	audit    *Audit
	register *Register
	broken   atomic.Pointer[error] // why nothing is written any more
}

// readConnections is how many reads may run at once: lists for people, beside
// the broker's own look-ups.
const readConnections = 2

// Open opens the database, and makes it if the state directory has none. It
// returns a [*token.Error]:
//
//   - DATABASE_DAMAGED if the file is not a whole database of this program, or
//     was made by a newer one; it is left as it is;
//   - STATE_NOT_WRITABLE (metadata path, detail) if the directory or the file
//     cannot be used, or the disk is full.
func Open(ctx context.Context, c Config) (*Store, error) {
	path := filepath.Join(c.Dir, fileName)
	s, err := open(ctx, path, c.ReadOnly)
	if err != nil {
		return nil, asOpenError(path, err)
	}
	return s, nil
}

func open(ctx context.Context, path string, readOnly bool) (*Store, error) {
	if err := prepareFile(ctx, path, readOnly); err != nil {
		return nil, err
	}
	if err := inspect(ctx, path); err != nil {
		return nil, err
	}
	if !readOnly {
		if err := reserveWAL(path); err != nil {
			return nil, err
		}
	}
	s := &Store{}
	if err := s.connect(ctx, path, readOnly); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// connect opens the connections and prepares all statements.
func (s *Store) connect(ctx context.Context, path string, readOnly bool) error {
	var err error
	if !readOnly {
		if s.writer, err = sql.Open("sqlite", writerName(path)); err != nil {
			return fmt.Errorf("opening database for writing: %w", err)
		}
		s.writer.SetMaxOpenConns(1)
		if err := settle(ctx, s.writer); err != nil {
			return err
		}
	}
	if s.readers, err = sql.Open("sqlite", readerName(path)); err != nil {
		return fmt.Errorf("opening database for reading: %w", err)
	}
	s.readers.SetMaxOpenConns(readConnections)
	s.readers.SetMaxIdleConns(readConnections)
	if s.audit, err = newAudit(ctx, s); err != nil {
		return err
	}
	s.register, err = newRegister(ctx, s)
	return err
}

// settle makes sure that the writer's settings took effect, and writes once:
// a database that cannot be written is better known now than at the first
// signature, and the first write after a start costs two syncs more than the
// others (the header of the write-ahead log and the directory).
func settle(ctx context.Context, writer *sql.DB) error {
	var journal string
	var synchronous int
	if err := writer.QueryRowContext(ctx, "PRAGMA journal_mode").Scan(&journal); err != nil {
		return fmt.Errorf("reading journal mode: %w", err)
	}
	if err := writer.QueryRowContext(ctx, "PRAGMA synchronous").Scan(&synchronous); err != nil {
		return fmt.Errorf("reading synchronous mode: %w", err)
	}
	if journal != "wal" || synchronous != 2 {
		return fmt.Errorf("database works with journal_mode %s and synchronous %d, not wal and 2", journal, synchronous)
	}
	if _, err := writer.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", schemaVersion)); err != nil {
		return fmt.Errorf("writing to the database: %w", err)
	}
	return nil
}

// writerName is the data source of the one connection that writes.
//
// synchronous 2 (FULL) syncs the write-ahead log at each commit; mode=rw never
// makes a file; a checkpoint, which costs two syncs more, comes every
// checkpointPages pages.
func writerName(path string) string {
	return sourceName(path, "rw", fmt.Sprintf("synchronous(2);wal_autocheckpoint(%d)", checkpointPages)) +
		"&_txlock=immediate"
}

// readerName is the data source of connections that cannot write.
func readerName(path string) string { return sourceName(path, "ro", "query_only(1)") }

// sourceName makes a data source. The settings that all share: wait at most
// 2 s for a lock (an administrator's sqlite3 shell), do not trust the schema
// of the file (https://sqlite.org/security.html).
func sourceName(path, mode, pragmas string) string {
	query := "mode=" + mode + "&_dqs=0&_defensive=1"
	for p := range strings.SplitSeq("busy_timeout(2000);foreign_keys(1);trusted_schema(0);cell_size_check(1);"+pragmas, ";") {
		query += "&_pragma=" + p
	}
	return (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: query}).String()
}

// Audit returns the storage of the log.
func (s *Store) Audit() *Audit { return s.audit }

// Register returns the storage of the register.
func (s *Store) Register() *Register { return s.register }

// Close ends all connections, the writer's last: it puts the write-ahead log
// into the database and removes it.
func (s *Store) Close() error {
	var errs []error
	for _, db := range []*sql.DB{s.readers, s.writer} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("closing database: %w", err)
	}
	return nil
}

// write runs one write on the only writing connection. It is not cancelled
// half-way. After an I/O error or damage nothing is written any more: what a
// failed sync left on the disk is unknown.
func (s *Store) write(ctx context.Context, f func(context.Context, *sql.DB) error) error {
	if s.writer == nil {
		return token.Errorf(token.KindStateNotWritable, "the database is open for reading only")
	}
	if broken := s.broken.Load(); broken != nil {
		return fmt.Errorf("an earlier write failed: %w", *broken)
	}
	err := asRunError(f(context.WithoutCancel(ctx), s.writer))
	if err != nil && isFatal(err) {
		s.broken.CompareAndSwap(nil, &err)
	}
	return err
}
