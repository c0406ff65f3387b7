package store

import (
	"context"
	"errors"
	"path/filepath"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/inkan-project/inkan/token"
)

// resultCode returns SQLite's extended result code in err
// (https://sqlite.org/rescode.html), or 0.
func resultCode(err error) int {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Code()
	}
	return 0
}

// primary returns the code without its extension, the low byte.
func primary(code int) int { return code & 0xff }

// isDamage reports whether SQLite found that the file is not as it should be.
func isDamage(err error) bool {
	code := resultCode(err)
	switch primary(code) {
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR:
		return true // ERROR: a statement that does not fit the schema
	}
	return code == sqlite3.SQLITE_READONLY_ROLLBACK
}

// isFatal reports whether nothing may be written after err.
func isFatal(err error) bool {
	return token.KindOf(err) == token.KindDatabaseDamaged || primary(resultCode(err)) == sqlite3.SQLITE_IOERR
}

// asOpenError gives an error of Open its kind.
func asOpenError(path string, err error) error {
	switch {
	case token.KindOf(err) != token.KindInternal:
		return err
	case errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
		return err
	case isDamage(err):
		return damaged("%s cannot be read", fileName).Because(err)
	}
	return notWritable(path, cause(err)).Because(err)
}

// notWritable names the directory of the database.
func notWritable(path, detail string) *token.Error {
	return token.NewError(token.KindStateNotWritable, "path", filepath.Dir(path), "detail", detail)
}

// asRunError gives an error of a query or a write its kind where it has one.
func asRunError(err error) error {
	if token.KindOf(err) == token.KindInternal && isDamage(err) {
		return damaged("%s cannot be read", fileName).Because(err)
	}
	return err
}

// cause returns the innermost text, for people.
func cause(err error) string {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err.Error()
		}
		err = inner
	}
}
