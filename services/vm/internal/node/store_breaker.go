package node

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/clamp"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/unit"
)

// LockBreaker locks a node's breaker. It returns whether the breaker is open, and since when removals count against it:
// its last reset, but an hour at most.
func LockBreaker(ctx context.Context, tx *unit.Tx, id int32) (open bool, since time.Time, err error) {
	err = tx.QueryRow(ctx, `
		SELECT breaker_opened_at IS NOT NULL, greatest(breaker_since, now() - interval '1 hour')
		FROM node WHERE id = $1 FOR NO KEY UPDATE`, id).Scan(&open, &since)
	return open, since, err
}

// OpenBreaker opens the breaker of a node after so many removals.
func OpenBreaker(ctx context.Context, tx *unit.Tx, id int32, removed int) error {
	if _, err := tx.Exec(ctx, `UPDATE node SET breaker_opened_at = now() WHERE id = $1`, id); err != nil {
		return err
	}
	return tx.Emit(ctx, "vm.v3.node.breaker_opened", key(id), &vmpb.BreakerOpened{NodeId: id, Removed: clamp.Int32(removed)})
}

// ResetBreaker closes the breaker of a node. Earlier removals no longer count: those that were allowed before the row was
// locked here.
func ResetBreaker(ctx context.Context, tx *unit.Tx, id int32) error {
	if _, _, err := LockBreaker(ctx, tx, id); errors.Is(err, pgx.ErrNoRows) {
		return pg.Missing("node", id)
	} else if err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `UPDATE node SET breaker_opened_at = NULL, breaker_since = clock_timestamp() WHERE id = $1`, id)
	return err
}
