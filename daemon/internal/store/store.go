// Package store keeps the log and the register in one SQLite database, the
// file inkan.db in the state directory.
//
// It guarantees that a row is durable when a write returns, that a damaged
// database is refused and left byte for byte as it was, that one of an older
// release is brought forward whole or not at all and with a copy of what it
// was, and that a row of the register which does not fit the hash of its
// content is never returned. It does not check the chain of the log: package
// audit does.
//
// A caller holds the lock on the state directory before [Open], makes that
// directory (nobody else may write to it), checks what it read before the first
// write, and calls [Store.Close] last. Until the first write a database of this
// release is only read: if the log turns out to be damaged, the files stay as
// they are.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"sync"

	_ "modernc.org/sqlite" // registers the driver "sqlite"
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
	path     string
	readOnly bool
	readers  *sql.DB
	audit    *Audit
	register *Register

	mu     sync.Mutex // guards the fields that follow; held while writing
	writer *writer    // nil before the first write
	broken error      // why nothing is written any more
}

// readConnections is how many reads may run at once: lists for people, beside
// the broker's own look-ups.
const readConnections = 2

// Open opens the database, makes it if the state directory has none, and brings
// it forward if an older release made it. It returns a [*token.Error]:
//
//   - DATABASE_DAMAGED if the file is not a whole database of this program; it
//     is left as it is;
//   - DATABASE_NEWER if a newer one made it; it is left as it is;
//   - STATE_NOT_WRITABLE (metadata path, detail) if the directory or the file
//     cannot be used, or the disk is full.
//
// A process that writes opens one Store and never opens the file otherwise:
// closing any descriptor of it would drop the locks that SQLite holds
// (https://sqlite.org/howtocorrupt.html section 2.2).
func Open(ctx context.Context, c Config) (*Store, error) {
	path := filepath.Join(c.Dir, fileName)
	s, err := open(ctx, path, c.ReadOnly, tables())
	if err != nil {
		return nil, asOpenError(path, err)
	}
	return s, nil
}

func open(ctx context.Context, path string, readOnly bool, l layout) (*Store, error) {
	if err := prepareFile(ctx, path, readOnly, l); err != nil {
		return nil, err
	}
	version, err := inspect(ctx, path, l)
	if err != nil {
		return nil, err
	}
	if version < l.version() {
		if readOnly {
			return nil, notWritable(path, fmt.Sprintf("an older inkand made the database (version %d); the service brings it forward when it starts", version))
		}
		if err := migrate(ctx, path, version, l); err != nil {
			return nil, fmt.Errorf("bringing the database forward: %w", err)
		}
	}
	s := &Store{path: path, readOnly: readOnly}
	if err := s.connect(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// connect opens the connections that read.
func (s *Store) connect(ctx context.Context) error {
	var err error
	if s.readers, err = sql.Open("sqlite", readerName(s.path)); err != nil {
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

// Close ends all connections, the writer's last: if there was one, it puts the
// write-ahead log into the database and removes it.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken == nil {
		s.broken = errors.New("the database is closed")
	}
	var errs []error
	if s.readers != nil {
		errs = append(errs, s.readers.Close())
	}
	if s.writer != nil {
		errs = append(errs, s.writer.db.Close())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("closing database: %w", err)
	}
	return nil
}
