package disk

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/unit"
)

// Rename sets what clients call a disk.
func Rename(ctx context.Context, tx *unit.Tx, id int32, label string) error {
	_, err := tx.Exec(ctx, `UPDATE disk SET label = $2 WHERE id = $1`, id, label)
	return err
}

// Sell records that a job is to enlarge a disk: from now on the host counts for the new size.
func Sell(ctx context.Context, tx *unit.Tx, id, size, job int32) error {
	_, err := tx.Exec(ctx, `
		UPDATE disk SET had_mib = coalesce(had_mib, size_mib), size_mib = $2, resize_task = $3 WHERE id = $1`, id, size, job)
	return err
}

// Grown records that a job has enlarged a disk to size. A later job may be about to enlarge it further.
func Grown(ctx context.Context, tx *unit.Tx, id, size, job int32) error {
	_, err := tx.Exec(ctx, `
		UPDATE disk SET had_mib = CASE WHEN resize_task = $3 THEN NULL ELSE greatest(had_mib, $2) END,
			resize_task = nullif(resize_task, $3)
		WHERE id = $1 AND had_mib IS NOT NULL`, id, size, job)
	return err
}

// TakeBack gives a disk the size again that it has, when the job that was to enlarge it has failed and no later one is to, and
// returns by how much the host counts for less.
func TakeBack(ctx context.Context, tx *unit.Tx, id, job int32) (less int32, err error) {
	err = tx.QueryRow(ctx, `
		UPDATE disk d SET size_mib = was.had_mib, had_mib = NULL, resize_task = NULL
		FROM disk was WHERE was.id = d.id AND d.id = $1 AND d.resize_task = $2 AND was.had_mib IS NOT NULL
		RETURNING was.size_mib - was.had_mib`, id, job).Scan(&less)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, nil
	}
	return less, err
}
