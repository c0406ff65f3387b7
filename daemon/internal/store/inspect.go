package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
)

// inspect looks at the whole database through a connection that cannot write,
// before one that can is opened. What a crash left in the write-ahead log is
// seen too, but not put into the database.
func inspect(ctx context.Context, path string) (err error) {
	db, err := sql.Open("sqlite", readerName(path))
	if err != nil {
		return fmt.Errorf("opening database for inspection: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1)
	var id, version int64
	if err := db.QueryRowContext(ctx, "PRAGMA application_id").Scan(&id); err != nil {
		return fmt.Errorf("reading application id: %w", err)
	}
	if id != applicationID {
		return damaged("it is not a database of this program")
	}
	if err := db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return fmt.Errorf("reading version: %w", err)
	}
	if err := checkVersion(version); err != nil {
		return err
	}
	if err := checkSchema(ctx, db); err != nil {
		return err
	}
	// Not quick_check: an index that does not fit its table would hide rows.
	var verdict string
	if err := db.QueryRowContext(ctx, "PRAGMA integrity_check(1)").Scan(&verdict); err != nil {
		return fmt.Errorf("checking database: %w", err)
	}
	if verdict != "ok" {
		return damaged("%s", verdict)
	}
	return nil
}

// checkSchema refuses other tables, indexes and triggers than [schema] makes.
// SQLite keeps the words that made them.
func checkSchema(ctx context.Context, db *sql.DB) error {
	var got string
	if err := db.QueryRowContext(ctx, `SELECT coalesce(group_concat(sql, ''), '') FROM
		(SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY rowid)`).Scan(&got); err != nil {
		return fmt.Errorf("reading schema: %w", err)
	}
	var want string
	for statement := range strings.SplitSeq(schema, ";") {
		want += strings.TrimSpace(statement)
	}
	if got != want {
		return damaged("its tables are not those of this program")
	}
	return nil
}
