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
// seen too, but not put into the database. It returns the version of its tables.
func inspect(ctx context.Context, path string, l layout) (version int, err error) {
	db, err := sql.Open("sqlite", readerName(path))
	if err != nil {
		return 0, fmt.Errorf("opening database for inspection: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1)
	var id, told int64
	if err := db.QueryRowContext(ctx, "PRAGMA application_id").Scan(&id); err != nil {
		return 0, fmt.Errorf("reading application id: %w", err)
	}
	if id != applicationID {
		return 0, damaged("it is not a database of this program")
	}
	if err := db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&told); err != nil {
		return 0, fmt.Errorf("reading version: %w", err)
	}
	if err := l.check(told); err != nil {
		return 0, err
	}
	version = int(told) // which is one that we know
	if err := checkTables(ctx, db, l.upTo(version)); err != nil {
		return 0, err
	}
	// Not quick_check: an index that does not fit its table would hide rows.
	var verdict string
	if err := db.QueryRowContext(ctx, "PRAGMA integrity_check(1)").Scan(&verdict); err != nil {
		return 0, fmt.Errorf("checking database: %w", err)
	}
	if verdict != "ok" {
		return 0, damaged("%s", verdict)
	}
	return version, nil
}

// checkTables refuses other tables, indexes and triggers than the layout makes.
// SQLite keeps the words that made them; what those are after a step that
// alters a table, an empty database tells that went the same way.
func checkTables(ctx context.Context, db *sql.DB, l layout) (err error) {
	model, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		return fmt.Errorf("opening model: %w", err)
	}
	defer func() { err = errors.Join(err, model.Close()) }()
	model.SetMaxOpenConns(1) // each connection has a memory of its own
	if _, err := model.ExecContext(ctx, strings.Join(l, ";")); err != nil {
		return fmt.Errorf("making model: %w", err)
	}
	want, err := words(ctx, model)
	if err != nil {
		return err
	}
	got, err := words(ctx, db)
	if err != nil {
		return err
	}
	if got != want {
		return damaged("its tables are not those of this program")
	}
	return nil
}

// words returns what made the tables; in which order they were made, a copy
// does not keep.
func words(ctx context.Context, db *sql.DB) (sql string, err error) {
	if err := db.QueryRowContext(ctx, `SELECT coalesce(group_concat(sql, ';'), '') FROM
		(SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY type, name)`).Scan(&sql); err != nil {
		return "", fmt.Errorf("reading schema: %w", err)
	}
	return sql, nil
}
