package jobs

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Reassign gives the jobs of these keys to another account, finished ones too.
func Reassign(ctx context.Context, tx pgx.Tx, keys []string, account int32) error {
	if _, err := tx.Exec(ctx, `UPDATE job SET account_id = $2 WHERE key = ANY($1)`, keys, account); err != nil {
		return fmt.Errorf("reassign jobs: %w", err)
	}
	return nil
}

// ReassignAll gives all jobs of an account to another one.
func ReassignAll(ctx context.Context, tx pgx.Tx, from, to int32) error {
	if _, err := tx.Exec(ctx, `UPDATE job SET account_id = $2 WHERE account_id = $1`, from, to); err != nil {
		return fmt.Errorf("reassign jobs: %w", err)
	}
	return nil
}
