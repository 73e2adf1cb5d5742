package tables

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/jobs/internal/backend"
)

// renewSQL skips a job whose row is locked, by a Cancel or by its own worker: one slow transaction must not end the
// leases of all other jobs. It skips a job that was put back meanwhile: with a new lease, which no runner holds, the job
// would wait for its end. The flush to disk can be spared, a lost renewal is only a shorter lease.
const renewSQL = `
	WITH unflushed AS MATERIALIZED (
		SELECT set_config('synchronous_commit', 'off', true)
	), mine AS MATERIALIZED (
		SELECT id AS mine_id
		FROM job JOIN unnest($1::integer[], $2::bigint[]) AS l (lease_id, lease_fence)
			ON id = lease_id AND fence = lease_fence
		WHERE ` + Unfinished + ` AND locked_by IS NOT NULL
		FOR NO KEY UPDATE OF job SKIP LOCKED
	), renewed AS (
		UPDATE job SET lease_until = now() + $3::interval
		FROM mine, unflushed WHERE id = mine_id
		RETURNING id AS renewed_id
	)
	SELECT id, cancel_requested, renewed_id IS NOT NULL AS renewed
	FROM job JOIN unnest($1::integer[], $2::bigint[]) AS l (lease_id, lease_fence)
		ON id = lease_id AND fence = lease_fence
	LEFT JOIN renewed ON id = renewed_id`

// Renew renews leases. A lease that is missing in the answer is lost.
func (t Tables) Renew(ctx context.Context, ids []int32, fences []int64, lease time.Duration) ([]backend.LeaseState, error) {
	return t.leases(ctx, renewSQL, ids, fences, lease)
}

// Canceled returns those of the leases whose job was asked to stop.
func (t Tables) Canceled(ctx context.Context, ids []int32, fences []int64) ([]backend.LeaseState, error) {
	return t.leases(ctx, `
		SELECT id, cancel_requested, false AS renewed
		FROM job JOIN unnest($1::integer[], $2::bigint[]) AS l (lease_id, lease_fence)
			ON id = lease_id AND fence = lease_fence
		WHERE cancel_requested`, ids, fences)
}

func (t Tables) leases(ctx context.Context, sql string, args ...any) ([]backend.LeaseState, error) {
	rows, err := t.pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByName[backend.LeaseState])
}

// TakeOver ends all leases of name.
func (t Tables) TakeOver(ctx context.Context, name string) error {
	_, err := t.pool.Exec(ctx, `
		UPDATE job SET lease_until = now() - interval '1 second'
		WHERE locked_by = $1 AND lease_until > now() AND `+Unfinished, name)
	return err
}

// Release puts a job back for a later attempt.
func (t Tables) Release(ctx context.Context, l backend.Lease, current int, r backend.Release) error {
	code, reason, text := 0, "", ""
	if r.Fault != nil {
		code, reason, text = int(r.Fault.Code), r.Fault.Reason, r.Fault.Text()
	}
	return lostIfZero(t.pool.Exec(ctx, `
		WITH me AS (
			UPDATE job SET
				state       = CASE state WHEN 'running' THEN 'queued' ELSE state END,
				attempt     = attempt + $3::integer,
				failures    = failures + $4::integer,
				panics      = panics + $5::integer,
				run_at      = CASE WHEN cancel_requested AND state = 'running' THEN now() ELSE now() + $6::interval END,
				lease_until = NULL,
				locked_by   = NULL,
				code        = CASE WHEN state = 'running' AND $8 <> '' THEN $7 ELSE code END,
				reason      = CASE WHEN state = 'running' AND $8 <> '' THEN $8 ELSE reason END,
				error       = CASE WHEN state = 'running' AND $8 <> '' THEN $9 ELSE error END
			WHERE id = $1 AND fence = $2 AND `+Unfinished+`
			RETURNING id AS me
		), step AS (
			UPDATE job_step SET error = $9 FROM me
			WHERE job_id = me AND seq = $10 AND $8 <> ''
		)
		SELECT FROM me`,
		l.ID, l.Fence, r.Attempts, r.Failures, r.Panics, r.After, code, reason, text, current))
}
