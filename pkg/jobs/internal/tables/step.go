package tables

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/jobs/internal/backend"
)

// Advance records that one step is done and the next one started, and renews the lease, in one round trip.
func (t Tables) Advance(ctx context.Context, l backend.Lease, lease time.Duration, pending int,
	next *backend.StepRecord,
) (canceled bool, err error) {
	var seq int
	var name string
	if next != nil {
		seq, name = next.Seq, next.Name
	}
	err = t.pool.QueryRow(ctx, `
		WITH me AS (
			UPDATE job SET
				lost = CASE WHEN $4 > 0 THEN 0 ELSE lost END,
				lease_until = now() + $3::interval
			WHERE id = $1 AND fence = $2 AND state = 'running'
			RETURNING id AS me, cancel_requested
		), finished AS (
			UPDATE job_step SET state = 'done', finished_at = clock_timestamp(), error = ''
			FROM me WHERE job_id = me AND seq = $4
		), started AS (
			INSERT INTO job_step (job_id, seq, name, state)
			SELECT me, $5, $6, 'started' FROM me WHERE $5 > 0 AND NOT cancel_requested
			ON CONFLICT (job_id, seq) DO UPDATE
			SET state = 'started', started_at = clock_timestamp(), finished_at = NULL
		)
		SELECT cancel_requested FROM me`,
		l.ID, l.Fence, lease, pending, seq, name).Scan(&canceled)
	return canceled, lostIfNone(err)
}

// StartUndo makes the job undoing. A cancel that is already there takes precedence over f.
func (t Tables) StartUndo(ctx context.Context, l backend.Lease, lease time.Duration, f *fault.Fault) (canceled bool, err error) {
	c := backend.ErrCanceled
	err = t.pool.QueryRow(ctx, `
		WITH me AS (
			UPDATE job SET state = 'undoing', failures = 0, lease_until = now() + $3::interval,
				code   = CASE WHEN cancel_requested THEN $7::integer ELSE $4 END,
				reason = CASE WHEN cancel_requested THEN $8 ELSE $5 END,
				error  = CASE WHEN cancel_requested THEN $9 ELSE $6 END
			WHERE id = $1 AND fence = $2 AND state = 'running'
			RETURNING id AS me, cancel_requested
		), step AS (
			UPDATE job_step SET error = $6 FROM me WHERE job_id = me AND state = 'started'
		)
		SELECT cancel_requested FROM me`,
		l.ID, l.Fence, lease, int(f.Code), f.Reason, f.Text(), int(c.Code), c.Reason, c.Msg).Scan(&canceled)
	return canceled, lostIfNone(err)
}

// Undone records that the step seq is undone.
func (t Tables) Undone(ctx context.Context, l backend.Lease, lease time.Duration, seq int) error {
	return lostIfZero(t.pool.Exec(ctx, `
		WITH me AS (
			UPDATE job SET lease_until = now() + $3::interval
			WHERE id = $1 AND fence = $2 AND state = 'undoing'
			RETURNING id AS me
		), step AS (
			UPDATE job_step SET state = 'undone', finished_at = clock_timestamp()
			FROM me WHERE job_id = me AND seq = $4
		)
		SELECT FROM me`, l.ID, l.Fence, lease, seq))
}

// Finish marks the job done in tx, after the writes of its handler: domain rows are locked before the job, as in every
// request. A cancel that committed earlier wins.
func (Tables) Finish(ctx context.Context, tx pgx.Tx, l backend.Lease, pending int) error {
	var ok, canceled bool
	err := tx.QueryRow(ctx, `
		WITH me AS (
			UPDATE job SET state = 'done', finished_at = clock_timestamp(), lease_until = NULL, locked_by = NULL,
				code = 0, reason = '', error = ''
			WHERE id = $1 AND fence = $2 AND state = 'running' AND NOT cancel_requested
			RETURNING id AS me
		), finished AS (
			UPDATE job_step SET state = 'done', finished_at = clock_timestamp(), error = ''
			FROM me WHERE job_id = me AND seq = $3
		)
		SELECT EXISTS (SELECT FROM me),
			EXISTS (SELECT FROM job WHERE id = $1 AND fence = $2 AND state = 'running' AND cancel_requested)`,
		l.ID, l.Fence, pending).Scan(&ok, &canceled)
	switch {
	case err != nil:
		return err
	case ok:
		return nil
	case canceled:
		return backend.ErrCanceled
	}
	// The cancel may be younger than this statement's snapshot; a second query has a new one.
	err = tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM job WHERE id = $1 AND fence = $2 AND state = 'running')`,
		l.ID, l.Fence).Scan(&canceled)
	switch {
	case err != nil:
		return err
	case canceled:
		return backend.ErrCanceled
	}
	return backend.ErrLeaseLost
}

// Fail marks the job failed or canceled in tx, after the writes of its handler.
func (Tables) Fail(ctx context.Context, tx pgx.Tx, l backend.Lease) error {
	return lostIfZero(tx.Exec(ctx, `
		UPDATE job SET state = CASE WHEN cancel_requested THEN 'canceled' ELSE 'failed' END,
			finished_at = clock_timestamp(), lease_until = NULL, locked_by = NULL
		WHERE id = $1 AND fence = $2 AND state = 'undoing'`, l.ID, l.Fence))
}

// GiveUp marks the job failed, without an undo.
func (t Tables) GiveUp(ctx context.Context, l backend.Lease, f *fault.Fault) error {
	return lostIfZero(t.pool.Exec(ctx, `
		UPDATE job SET state = 'failed', finished_at = clock_timestamp(), lease_until = NULL, locked_by = NULL,
			code = $3, reason = $4, error = $5
		WHERE id = $1 AND fence = $2 AND `+Unfinished, l.ID, l.Fence, int(f.Code), f.Reason, f.Text()))
}
