package jobs

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Remark keeps what a job says of its end, for people. A handler calls it in its Done.
func Remark(ctx context.Context, tx pgx.Tx, job int32, text string) error {
	if _, err := tx.Exec(ctx, `UPDATE job SET remark = $2 WHERE id = $1`, job, text); err != nil {
		return fmt.Errorf("remark of a job: %w", err)
	}
	return nil
}
