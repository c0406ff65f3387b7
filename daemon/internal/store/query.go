package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/inkan-project/inkan/token"
)

// scanner is a *sql.Row or *sql.Rows.
type scanner interface{ Scan(dest ...any) error }

// readAll reads all rows of a statement.
func readAll[T any](ctx context.Context, statement *sql.Stmt, scan func(scanner) (T, error), args ...any) (list []T, err error) {
	rows, err := statement.QueryContext(ctx, args...)
	if err != nil {
		return nil, asRunError(err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		item, err := scan(rows)
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case token.KindOf(err) == token.KindInternal: // a value of another type than its column
			return nil, damaged("a row cannot be read").Because(err)
		default:
			return nil, err
		}
		list = append(list, item)
	}
	return list, asRunError(rows.Err())
}

// preparer prepares statements until one fails.
type preparer struct {
	ctx context.Context //nolint:containedctx // lives as long as the call that made it
	db  *sql.DB
	err error
}

func (p *preparer) prepare(query string) *sql.Stmt {
	if p.err != nil {
		return nil
	}
	statement, err := p.db.PrepareContext(p.ctx, query)
	if err != nil {
		p.err = fmt.Errorf("preparing statement: %w", err)
	}
	return statement
}
