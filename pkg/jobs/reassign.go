package jobs

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Reassign gives jobs of an account to another one, finished ones too: those of these keys, or all if keys is nil.
func Reassign(ctx context.Context, tx pgx.Tx, from, to int32, keys []string) error {
	_, err := tx.Exec(ctx, `
		UPDATE job SET account_id = $2 WHERE account_id = $1 AND ($3::text[] IS NULL OR key = ANY($3))`, from, to, keys)
	if err != nil {
		return fmt.Errorf("reassign jobs: %w", err)
	}
	return nil
}
