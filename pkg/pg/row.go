package pg

import (
	"errors"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/fault"
)

// One returns the single row of a query, its columns by name, or notFound if there is none.
func One[T any](rows pgx.Rows, err, notFound error) (T, error) {
	var zero T
	if err != nil {
		return zero, err
	}
	v, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[T])
	if errors.Is(err, pgx.ErrNoRows) {
		return zero, notFound
	}
	return v, err
}

// Missing returns the fault of an object that does not exist, or that the caller may not see.
func Missing(what string, id int32) error { return fault.NotFound.With("no %s %d", what, id) }
