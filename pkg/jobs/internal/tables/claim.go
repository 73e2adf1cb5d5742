package tables

import (
	"context"
	"math"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/jobs/internal/backend"
)

// ClaimSQL leases up to $1 jobs.
//
// That no two jobs of a key are leased at once does not rest on locks: a job is only claimed when all earlier ones of
// its key are finished. Finished is final, and Enqueue makes ids of a key visible in order, so this cannot become
// untrue after it was seen, however old the snapshot. The lock and the lease only keep two runners from the same job.
//
// A first claim is not flushed to disk: if PostgreSQL crashes and forgets the claim, nothing was done yet, because the
// record of the first step, which is flushed, comes before the step.
const ClaimSQL = `
	WITH picked AS MATERIALIZED (
		SELECT picked_id, fresh, turn FROM job_claim($1, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
	), unflushed AS MATERIALIZED (
		SELECT set_config('synchronous_commit', 'off', true)
		WHERE NOT EXISTS (SELECT FROM picked WHERE NOT fresh)
	)
	UPDATE job SET
		state       = CASE state WHEN 'queued' THEN 'running' ELSE state END,
		attempt     = attempt + 1,
		lost        = lost + (locked_by IS NOT NULL)::integer,
		fence       = job_next_fence(),
		locked_by   = $2,
		lease_until = now() + $3::interval,
		started_at  = coalesce(started_at, now()),
		reason      = CASE WHEN state = 'queued' AND reason = $14 THEN '' ELSE reason END,
		error       = CASE WHEN state = 'queued' AND reason = $14 THEN '' ELSE error END
	FROM picked LEFT JOIN unflushed ON true
	WHERE id = picked_id
	RETURNING ` + Columns + `, fence, failures, panics, lost, code, fresh, turn`

// Claim leases due jobs.
func (t Tables) Claim(ctx context.Context, c backend.Claim) ([]backend.Claimed, error) {
	rows, err := t.pool.Query(ctx, ClaimSQL, ClaimArgs(c)...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByName[backend.Claimed])
}

// ClaimArgs returns the arguments of ClaimSQL.
func ClaimArgs(c backend.Claim) []any {
	accounts, nodes, pairs := make([]int32, len(c.Busy)), make([]int32, len(c.Busy)), make([]int64, len(c.Busy))
	for i, p := range c.Busy {
		accounts[i], nodes[i], pairs[i] = p.AccountID, p.NodeID, int64(p.AccountID)<<32|int64(p.NodeID)
	}
	most := []int32{bound(c.PerAccount), bound(c.PerNode), bound(c.PerBoth)}
	return []any{
		c.Limit, c.Name, c.Lease, c.Kinds, c.UnknownAfter, c.Served, c.Pivot, accounts, nodes, pairs, most,
		notNil(c.Shut), notNil(c.Probed), backend.ErrNodeHangs.Reason,
	}
}

// bound returns n, or the highest number for 0, which is no bound.
func bound(n int) int32 {
	if n == 0 {
		return math.MaxInt32
	}
	return int32(n) // #nosec G115 -- a part of the workers
}

// notNil returns an empty list for nil, which would be NULL in SQL.
func notNil(list []int32) []int32 { return append([]int32{}, list...) }

// Explain gives the queued jobs of the nodes an error to show. A locked row is skipped: its job is being claimed.
func (t Tables) Explain(ctx context.Context, nodes []int32, f *fault.Fault) error {
	_, err := t.pool.Exec(ctx, `
		UPDATE job SET code = $2, reason = $3, error = $4 WHERE id IN (
			SELECT id FROM job WHERE `+Unfinished+` AND state = 'queued' AND node_id = ANY ($1) AND reason <> $3
			FOR NO KEY UPDATE SKIP LOCKED)`, nodes, int(f.Code), f.Reason, f.Text())
	return err
}
