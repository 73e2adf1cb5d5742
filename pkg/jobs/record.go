package jobs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/fault"
)

// Everything here is guarded by (id, fence): a runner that lost its lease changes nothing.

// bookkeeping is trouble with the job's own rows. It is not the job's fault and does not count as a failure of it.
type bookkeeping struct{ error }

func (b bookkeeping) Unwrap() error { return b.error }

// booked names what could not be written, unless it was the lease that was lost.
func booked(what string, err error) error {
	if err == nil || errors.Is(err, ErrLeaseLost) {
		return err
	}
	return bookkeeping{fmt.Errorf("%s: %w", what, err)}
}

// lostIfNone and lostIfZero say that a statement found no row: its guard is the lease.
func lostIfNone(err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return ErrLeaseLost
	}
	return err
}

func lostIfZero(tag pgconn.CommandTag, err error) error {
	if err == nil && tag.RowsAffected() == 0 {
		return ErrLeaseLost
	}
	return err
}

// recordCtx is for a write that must happen although the job is stopped.
func recordCtx(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
}

// advance records in one round trip that the pending step is done and that the next one is started. It also renews the
// lease. next is nil when there is nothing to start.
func (r *Runner) advance(l *lease, next *StepRecord) error {
	ctx, stop := recordCtx(l.ctx)
	defer stop()
	at := time.Now()
	canceled, err := r.book.advance(ctx, l.held(), r.cfg.Lease, l.pending, next)
	if err != nil {
		return booked("record step", err)
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

func (t tables) advance(ctx context.Context, h held, lease time.Duration, pending int, next *StepRecord) (canceled bool, err error) {
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
		h.id, h.fence, lease, pending, seq, name).Scan(&canceled)
	return canceled, lostIfNone(err)
}

// finish marks the job done in tx, after what its handler wrote there: domain rows are locked before the job, as
// in every request. A cancel that committed before this wins.
func (tables) finish(ctx context.Context, tx pgx.Tx, h held, pending int) error {
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
		h.id, h.fence, pending).Scan(&ok, &canceled)
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
		h.id, h.fence).Scan(&canceled)
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
	at := time.Now()
	canceled, err := r.book.turn(ctx, l.held(), r.cfg.Lease, f)
	if err != nil {
		return booked("record failure", err)
	}
	r.renewed(l, at)
	l.run.State, l.failures, l.cause = Undoing, 0, f
	if canceled {
		l.cause = ErrCanceled
	}
	l.run.Reason, l.run.Error = l.cause.Reason, l.cause.Text()
	return nil
}

func (t tables) turn(ctx context.Context, h held, lease time.Duration, f *fault.Fault) (canceled bool, err error) {
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
		h.id, h.fence, lease, int(f.Code), f.Reason, f.Text(),
		int(ErrCanceled.Code), ErrCanceled.Reason, ErrCanceled.Msg).Scan(&canceled)
	return canceled, lostIfNone(err)
}

// undone records that a step is taken back.
func (r *Runner) undone(l *lease, seq int) error {
	ctx, stop := recordCtx(l.ctx)
	defer stop()
	at := time.Now()
	if err := r.book.undone(ctx, l.held(), r.cfg.Lease, seq); err != nil {
		return booked("record undo", err)
	}
	r.renewed(l, at)
	return nil
}

func (t tables) undone(ctx context.Context, h held, lease time.Duration, seq int) error {
	return lostIfZero(t.pool.Exec(ctx, `
		WITH me AS (
			UPDATE job SET lease_until = now() + $3::interval
			WHERE id = $1 AND fence = $2 AND state = 'undoing'
			RETURNING id AS me
		), step AS (
			UPDATE job_step SET state = 'undone', finished_at = clock_timestamp()
			FROM me WHERE job_id = me AND seq = $4
		)
		SELECT FROM me`, h.id, h.fence, lease, seq))
}

// fail marks the job failed or canceled in tx, after what its handler wrote there.
func (tables) fail(ctx context.Context, tx pgx.Tx, h held) error {
	return booked("record end", lostIfZero(tx.Exec(ctx, `
		UPDATE job SET state = CASE WHEN cancel_requested THEN 'canceled' ELSE 'failed' END,
			finished_at = clock_timestamp(), lease_until = NULL, locked_by = NULL
		WHERE id = $1 AND fence = $2 AND state = 'undoing'`, h.id, h.fence)))
}

// giveUp ends a job that nothing can be done for, not even an undo: its kind or its arguments are not known here.
func (r *Runner) giveUp(l *lease, f *fault.Fault) error {
	ctx, stop := recordCtx(l.ctx)
	defer stop()
	return booked("record end", r.book.giveUp(ctx, l.held(), f))
}

func (t tables) giveUp(ctx context.Context, h held, f *fault.Fault) error {
	return lostIfZero(t.pool.Exec(ctx, `
		UPDATE job SET state = 'failed', finished_at = clock_timestamp(), lease_until = NULL, locked_by = NULL,
			code = $3, reason = $4, error = $5
		WHERE id = $1 AND fence = $2 AND `+unfinished, h.id, h.fence, int(f.Code), f.Reason, f.Text()))
}

// again is how a job is let go without being finished.
type again struct {
	after    time.Duration
	err      error // what to show meanwhile; nil leaves what is there
	uncount  bool  // as if this attempt had not been
	failure  bool
	panicked bool
}

// fault is what to show; empty for nothing.
func (a again) fault() *fault.Fault {
	if a.err == nil {
		return &fault.Fault{}
	}
	return public(a.err)
}

// release puts the job back for a later attempt.
func (r *Runner) release(l *lease, a again) error {
	ctx, stop := recordCtx(l.ctx)
	defer stop()
	if err := r.book.release(ctx, l.held(), l.current, a); err != nil {
		return booked("put back", err)
	}
	if a.after > 0 {
		time.AfterFunc(a.after+2*time.Millisecond, func() { signal(r.wake) })
	}
	return nil
}

func (t tables) release(ctx context.Context, h held, current int, a again) error {
	f := a.fault()
	return lostIfZero(t.pool.Exec(ctx, `
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
		h.id, h.fence, count(a.uncount), count(a.failure), count(a.panicked), a.after,
		int(f.Code), f.Reason, f.Text(), current))
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
