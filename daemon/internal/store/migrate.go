package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// migrate brings a database of an older version forward in one transaction,
// after a copy was made of it: a crash leaves the old version or the new one.
func migrate(ctx context.Context, path string, version int, l layout) (err error) {
	kept, err := copyName(path, version)
	if err != nil {
		return err
	}
	if err := whole(kept, func(draft string) error { return writeCopy(ctx, path, draft) }); err != nil {
		return fmt.Errorf("copying: %w", err)
	}
	if err := takeSteps(ctx, path, version, l); err != nil {
		// Nothing was changed. A service that starts again and again must not
		// fill the disk with copies of it.
		return errors.Join(err, os.Remove(kept))
	}
	return nil
}

// maxCopies is how many copies of one version there may be. More than one comes
// of a crash, or of a backup that was brought back.
const maxCopies = 9

// copyName returns a free name for the copy of a database.
func copyName(path string, version int) (string, error) {
	for i := range maxCopies {
		name := fmt.Sprintf("%s.version-%d", path, version)
		if i > 0 {
			name = fmt.Sprintf("%s.%d", name, i+1)
		}
		if _, err := os.Lstat(name); errors.Is(err, fs.ErrNotExist) {
			return name, nil
		} else if err != nil {
			return "", err
		}
	}
	return "", fmt.Errorf("there are %d copies of version %d already: put them elsewhere", maxCopies, version)
}

// writeCopy puts all rows of a database into an empty file: what is still in
// its write-ahead log too, so that the copy is whole by itself. It holds the log
// and the register and nothing of the PIN-try journal, which is another file:
// whoever puts it back gets no try back.
func writeCopy(ctx context.Context, path, draft string) error {
	// https://sqlite.org/lang_vacuum.html section 3: INTO leaves the original
	// as it is.
	if err := execute(ctx, path, "VACUUM INTO ?", draft); err != nil {
		return err
	}
	// Like every database of this program; VACUUM makes another kind.
	if err := execute(ctx, draft, "PRAGMA journal_mode = wal"); err != nil {
		return err
	}
	f, err := os.OpenFile(draft, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("syncing %s: %w", filepath.Base(draft), err)
	}
	return nil
}

// takeSteps brings the tables forward, all steps or none, durably.
func takeSteps(ctx context.Context, path string, version int, l layout) error {
	return execute(ctx, path, "BEGIN IMMEDIATE; "+l.after(version).script(l.version())+"COMMIT")
}

// execute runs SQL on a connection of its own that syncs.
func execute(ctx context.Context, path, query string, args ...any) (err error) {
	db, err := sql.Open("sqlite", sourceName(path, "rw", "synchronous(2)"))
	if err != nil {
		return fmt.Errorf("opening %s: %w", filepath.Base(path), err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1)
	_, err = db.ExecContext(ctx, query, args...)
	return err
}
