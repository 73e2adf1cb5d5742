package address

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/unit"
)

// sweepBatch limits the addresses that one unit of work frees.
const sweepBatch = 500

// freeDue frees addresses whose reservation lapsed or whose quarantine ended, and returns how many. It skips rows that
// another unit of work has locked.
func freeDue(ctx context.Context, tx *unit.Tx) (int, error) {
	return freeWhere(ctx, tx, `true ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED`, sweepBatch)
}

// freeDueOf frees all such addresses of some pools. It waits for locked rows, because they may become free in a moment.
func freeDueOf(ctx context.Context, tx *unit.Tx, pools []int32) error {
	_, err := freeWhere(ctx, tx, `pool_id = ANY($1) ORDER BY id FOR UPDATE`, pools)
	return err
}

// freeWhere frees the addresses that are due and match the condition which. A quarantine that a wish interrupted goes
// on when the reservation expires.
func freeWhere(ctx context.Context, tx *unit.Tx, which string, arg any) (int, error) {
	rows, err := tx.Query(ctx, `
		WITH due AS MATERIALIZED (
			SELECT id, ip, owner, generation, domain, coalesce(rest_until > now(), false) AS rests, rest_until
			FROM address WHERE until <= now() AND `+which+`
		), back AS (
			UPDATE address a SET state = CASE WHEN rests THEN 'quarantined' ELSE 'free' END,
				until = CASE WHEN rests THEN due.rest_until END, `+clearOwner+`
			FROM due WHERE a.id = due.id AND (family(a.ip) = 4 OR rests)
		), gone6 AS (
			DELETE FROM address a USING due WHERE a.id = due.id AND family(a.ip) = 6 AND NOT rests
		)
		SELECT id, ip, coalesce(owner::text, ''), generation, domain FROM due`, arg)
	if err != nil {
		return 0, err
	}
	due, err := pgx.CollectRows(rows, pgx.RowToStructByPos[change])
	if err != nil {
		return 0, err
	}
	lapsed := slices.DeleteFunc(slices.Clone(due), func(a change) bool { return a.Owner == "" })
	return len(due), emitReleased(ctx, tx, lapsed)
}
