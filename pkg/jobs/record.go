package jobs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/fault"
)

// Everything here is guarded by (id, fence): a runner that lost its lease changes nothing.

// bookkeeping is trouble with the job's own rows. It is not the job's fault and does not count as a failure of it.
type bookkeeping struct{ error }

func (b bookkeeping) Unwrap() error { return b.error }

// recordCtx is for a write that must happen although the job is stopped.
func recordCtx(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
}

// advance records in one round trip that the pending step is done and that the next one is started. It also renews the
// lease. next is nil when there is nothing to start.
func (r *Runner) advance(l *lease, next *StepRecord) error {
	ctx, stop := recordCtx(l.ctx)
	defer stop()
	var seq int
	var name string
	if next != nil {
		seq, name = next.Seq, next.Name
	}
	at := time.Now()
	var canceled bool
	err := r.pool.QueryRow(ctx, `
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
		l.run.ID, l.run.fence, r.cfg.Lease, l.pending, seq, name).Scan(&canceled)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return ErrLeaseLost
	case err != nil:
		return bookkeeping{fmt.Errorf("record step: %w", err)}
	}
	r.renewed(l, at)
	if l.pending > 0 {
		l.steps[l.pending-1].State = StepDone
		l.pending = 0
	}
	if canceled {
		return ErrCanceled // and next was not started
	}
	if next != nil && next.Seq > len(l.steps) {
		l.steps = append(l.steps, *next)
	}
	return nil
}

// finish marks the job done in tx, after what its handler wrote there: domain rows are locked before the job, as
// in every request. A cancel that committed before this wins.
func finish(ctx context.Context, tx pgx.Tx, l *lease) error {
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
		l.run.ID, l.run.fence, l.pending).Scan(&ok, &canceled)
	switch {
	case err != nil:
		return bookkeeping{fmt.Errorf("record end: %w", err)}
	case ok:
		return nil
	case canceled:
		return ErrCanceled
	}
	// The cancel may be younger than this statement's snapshot; a second look has a new one.
	err = tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM job WHERE id = $1 AND fence = $2 AND state = 'running')`,
		l.run.ID, l.run.fence).Scan(&canceled)
	switch {
	case err != nil:
		return bookkeeping{fmt.Errorf("record end: %w", err)}
	case canceled:
		return ErrCanceled
	}
	return ErrLeaseLost
}

// turn makes the job undoing. A cancel that is already there takes precedence over the failure.
func (r *Runner) turn(l *lease, cause error) error {
	ctx, stop := recordCtx(l.ctx)
	defer stop()
	f := public(cause)
	var canceled bool
	at := time.Now()
	err := r.pool.QueryRow(ctx, `
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
		l.run.ID, l.run.fence, r.cfg.Lease, int(f.Code), f.Reason, f.Msg,
		int(ErrCanceled.Code), ErrCanceled.Reason, ErrCanceled.Msg).Scan(&canceled)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return ErrLeaseLost
	case err != nil:
		return bookkeeping{fmt.Errorf("record failure: %w", err)}
	}
	r.renewed(l, at)
	l.run.State, l.failures, l.cause = Undoing, 0, f
	if canceled {
		l.cause = ErrCanceled
	}
	l.run.Reason, l.run.Error = l.cause.Reason, l.cause.Msg
	return nil
}

// undone records that a step is taken back.
func (r *Runner) undone(l *lease, seq int) error {
	ctx, stop := recordCtx(l.ctx)
	defer stop()
	at := time.Now()
	tag, err := r.pool.Exec(ctx, `
		WITH me AS (
			UPDATE job SET lease_until = now() + $3::interval
			WHERE id = $1 AND fence = $2 AND state = 'undoing'
			RETURNING id AS me
		), step AS (
			UPDATE job_step SET state = 'undone', finished_at = clock_timestamp()
			FROM me WHERE job_id = me AND seq = $4
		)
		SELECT FROM me`, l.run.ID, l.run.fence, r.cfg.Lease, seq)
	switch {
	case err != nil:
		return bookkeeping{fmt.Errorf("record undo: %w", err)}
	case tag.RowsAffected() == 0:
		return ErrLeaseLost
	}
	r.renewed(l, at)
	return nil
}

// fail marks the job failed or canceled in tx, after what its handler wrote there.
func fail(ctx context.Context, tx pgx.Tx, l *lease) error {
	tag, err := tx.Exec(ctx, `
		UPDATE job SET state = CASE WHEN cancel_requested THEN 'canceled' ELSE 'failed' END,
			finished_at = clock_timestamp(), lease_until = NULL, locked_by = NULL
		WHERE id = $1 AND fence = $2 AND state = 'undoing'`, l.run.ID, l.run.fence)
	switch {
	case err != nil:
		return bookkeeping{fmt.Errorf("record end: %w", err)}
	case tag.RowsAffected() == 0:
		return ErrLeaseLost
	}
	return nil
}

// giveUp ends a job that nothing can be done for, not even an undo: its kind or its arguments are not known here.
func (r *Runner) giveUp(l *lease, f *fault.Fault) error {
	ctx, stop := recordCtx(l.ctx)
	defer stop()
	tag, err := r.pool.Exec(ctx, `
		UPDATE job SET state = 'failed', finished_at = clock_timestamp(), lease_until = NULL, locked_by = NULL,
			code = $3, reason = $4, error = $5
		WHERE id = $1 AND fence = $2 AND `+unfinished, l.run.ID, l.run.fence, int(f.Code), f.Reason, f.Msg)
	switch {
	case err != nil:
		return bookkeeping{fmt.Errorf("record end: %w", err)}
	case tag.RowsAffected() == 0:
		return ErrLeaseLost
	}
	return nil
}

// again is how a job is let go without being finished.
type again struct {
	after    time.Duration
	err      error // what to show meanwhile; nil leaves what is there
	uncount  bool  // as if this attempt had not been
	failure  bool
	panicked bool
}

// release puts the job back for a later attempt.
func (r *Runner) release(l *lease, a again) error {
	ctx, stop := recordCtx(l.ctx)
	defer stop()
	f := &fault.Fault{}
	if a.err != nil {
		f = public(a.err)
	}
	tag, err := r.pool.Exec(ctx, `
		WITH me AS (
			UPDATE job SET
				state       = CASE state WHEN 'running' THEN 'queued' ELSE state END,
				attempt     = attempt - $3::integer,
				failures    = failures + $4::integer,
				panics      = panics + $5::integer,
				run_at      = CASE WHEN cancel_requested AND state = 'running' THEN now() ELSE now() + $6::interval END,
				lease_until = NULL,
				locked_by   = NULL,
				code        = CASE WHEN state = 'running' AND $8 <> '' THEN $7 ELSE code END,
				reason      = CASE WHEN state = 'running' AND $8 <> '' THEN $8 ELSE reason END,
				error       = CASE WHEN state = 'running' AND $8 <> '' THEN $9 ELSE error END
			WHERE id = $1 AND fence = $2 AND `+unfinished+`
			RETURNING id AS me
		), step AS (
			UPDATE job_step SET error = $9 FROM me
			WHERE job_id = me AND seq = $10 AND $8 <> ''
		)
		SELECT FROM me`,
		l.run.ID, l.run.fence, count(a.uncount), count(a.failure), count(a.panicked), a.after,
		int(f.Code), f.Reason, f.Msg, l.current)
	switch {
	case err != nil:
		return bookkeeping{fmt.Errorf("put back: %w", err)}
	case tag.RowsAffected() == 0:
		return ErrLeaseLost
	}
	if a.after > 0 {
		time.AfterFunc(a.after+2*time.Millisecond, func() { signal(r.wake) })
	}
	return nil
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

// causeOf rebuilds why a job is undone, for a runner that resumes the undo.
func causeOf(c claimed) *fault.Fault {
	return &fault.Fault{Code: codes.Code(c.Code), Reason: c.Reason, Msg: c.Error} // #nosec G115 -- as it was stored
}
