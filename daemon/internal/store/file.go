package store

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/inkan-project/inkan/token"
)

const (
	fileName = "inkan.db"
	fileMode = 0o600

	// applicationID marks the file as Inkan's (database header, offset 68,
	// https://sqlite.org/fileformat2.html section 1.3): "INKN".
	applicationID = 0x494e4b4e

	// checkpointPages is after how many pages the write-ahead log is put into
	// the database and begun again; walReserve is room for them and for one
	// transaction more (a frame is a page and 24 bytes, section 4.1).
	checkpointPages = 1000
	walReserve      = (checkpointPages + 16) * (pageSize + 24)

	headerSize = 100 // section 1.3
	pageSize   = 4096
)

// prepareFile checks the file without SQLite, which takes an empty one for a
// new database, or makes it.
func prepareFile(ctx context.Context, path string, readOnly bool, l layout) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !readOnly:
		return create(ctx, path, l)
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return damaged("%s is not a file", fileName)
	}
	if _, err := os.Lstat(path + "-journal"); err == nil {
		// SQLite would play it back. This program makes none beside this name.
		return damaged("there is a %s-journal, which this program never makes", fileName)
	}
	if err := checkHeader(path, l); err != nil {
		return err
	}
	if info.Size()%pageSize != 0 && !walInUse(path) {
		// SQLite would read the missing bytes as zeros.
		return damaged("%s ends within a page", fileName)
	}
	if readOnly {
		return nil
	}
	if info.Mode().Perm()&^fileMode != 0 {
		if err := os.Chmod(path, fileMode); err != nil {
			return err
		}
	}
	return writable(filepath.Dir(path), path)
}

// writable asks the kernel whether this process may write, without writing.
func writable(names ...string) error {
	for _, name := range names {
		if err := unix.Faccessat(unix.AT_FDCWD, name, unix.W_OK, unix.AT_EACCESS); err != nil {
			return fmt.Errorf("asking to write to %s: %w", filepath.Base(name), err)
		}
	}
	return nil
}

// checkHeader reads the first bytes of the file (section 1.3).
func checkHeader(path string, l layout) error {
	header, err := readStart(path, headerSize)
	switch {
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return damaged("%s ends within its header", fileName)
	case err != nil:
		return err
	}
	if string(header[:16]) != "SQLite format 3\x00" || binary.BigEndian.Uint32(header[68:]) != applicationID {
		return damaged("%s does not begin like a database of this program", fileName)
	}
	return l.check(int64(binary.BigEndian.Uint32(header[60:])))
}

// walInUse reports whether the write-ahead log may hold something: only then
// can a crash have come between the database's pages.
func walInUse(path string) bool {
	content, err := readStart(path+"-wal", 4)
	return err == nil && binary.BigEndian.Uint32(content) != 0 // not zeros of reserveWAL
}

// readStart returns the first n bytes of a file.
func readStart(name string, n int) ([]byte, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	content := make([]byte, n)
	_, err = io.ReadFull(f, content)
	return content, err
}

// check refuses tables of a version that this program does not know.
func (l layout) check(version int64) error {
	if version > int64(l.version()) {
		return token.Errorf(token.KindDatabaseNewer, "its version is %d, this one knows %d", version, l.version()).
			InJapanese(fmt.Sprintf("データベースの版は%d、このinkandが扱えるのは%dまで", version, l.version()))
	}
	if version < firstVersion {
		return damaged("its version is %d: it was made before the first release, or never by inkand", version)
	}
	return nil
}

// create makes a whole, empty database under another name and then renames
// it, so that a crash leaves all of it or nothing.
func create(ctx context.Context, path string, l layout) error {
	for _, name := range []string{path + "-wal", path + "-journal"} {
		if info, err := os.Lstat(name); err == nil && info.Size() > 0 {
			return damaged("%s is missing, but its %s is there", fileName, filepath.Base(name))
		}
	}
	return whole(path, func(draft string) error { return writeTables(ctx, draft, l) })
}

// whole makes a database under another name by fill and then gives it its own.
func whole(path string, fill func(draft string) error) error {
	draft := path + ".new"
	for _, leftover := range []string{draft, draft + "-journal", draft + "-wal", draft + "-shm"} {
		if err := os.Remove(leftover); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	f, err := os.OpenFile(draft, os.O_RDWR|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := fill(draft); err != nil {
		return errors.Join(err, os.Remove(draft))
	}
	if err := os.Rename(draft, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// writeTables fills an empty file. The mode is left to the last: changed to
// WAL, the file is synced by SQLite and needs no log beside it once closed.
func writeTables(ctx context.Context, draft string, l layout) (err error) {
	db, err := sql.Open("sqlite", sourceName(draft, "rw", "synchronous(2)"))
	if err != nil {
		return fmt.Errorf("opening new database: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(ctx, fmt.Sprintf("PRAGMA page_size = %d; PRAGMA application_id = %d", pageSize, applicationID)); err != nil {
		return fmt.Errorf("making database: %w", err)
	}
	if _, err := db.ExecContext(ctx, "BEGIN; "+l.script(l.version())+"COMMIT; PRAGMA journal_mode = wal"); err != nil {
		return fmt.Errorf("making tables: %w", err)
	}
	return nil
}

// reserveWAL makes the write-ahead log at full length before SQLite uses it:
// a sync of a file that does not grow takes half the time. SQLite takes a log
// of zeros for an empty one (section 4.1: a log is used if its header is
// right). It removes it at the end of the last connection.
func reserveWAL(path string) error {
	name := path + "-wal"
	if info, err := os.Lstat(name); err == nil && info.Size() > 0 {
		return nil // left by a crash: it may hold records
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|unix.O_NOFOLLOW, fileMode)
	if err != nil {
		return fmt.Errorf("making room for the write-ahead log: %w", err)
	}
	_, err = f.Write(make([]byte, walReserve))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(fmt.Errorf("making room for the write-ahead log: %w", err), os.Remove(name))
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes a new name in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("opening directory: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("syncing directory: %w", err)
	}
	return nil
}

func damaged(format string, args ...any) *token.Error {
	return token.Errorf(token.KindDatabaseDamaged, format, args...)
}
