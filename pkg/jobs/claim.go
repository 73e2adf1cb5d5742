package jobs

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/rpc"
	"slipway.dev/pkg/trace"
)

// lease is a job that this runner holds.
type lease struct {
	run      *Run
	steps    []StepRecord
	cause    *fault.Fault // why it is undone
	fresh    bool         // it never ran: there are no steps yet
	failures int
	panics   int
	lost     int
	pending  int // seq of a step that is done but not yet recorded as such
	current  int // seq of the step that is being done or undone

	// ctx ends with the runner or the lease; do ends also when the job is canceled. See context.Cause.
	ctx    context.Context
	do     context.Context
	end    context.CancelCauseFunc
	cancel context.CancelCauseFunc
	expiry *time.Timer
	traced func(error) // ends the span of this attempt
}

// claim leases up to limit jobs.
//
// That no two jobs of a key are leased at once does not rest on locks: a job is only claimed when all earlier ones of
// its key are finished. Finished is final, and Enqueue makes ids of a key visible in order, so this cannot become
// untrue after it was seen, however old the snapshot. The lock and the lease only keep two runners from the same job.
//
// A first claim is not flushed to disk: when PostgreSQL dies and forgets it, nothing was done yet, because the record of
// the first step, which is flushed, comes before the step.
const claimSQL = `
	WITH picked AS MATERIALIZED (
		SELECT picked_id, fresh FROM job_claimable($1, $4, $5)
	), unflushed AS MATERIALIZED (
		SELECT set_config('synchronous_commit', 'off', true)
		WHERE NOT EXISTS (SELECT FROM picked WHERE NOT fresh)
	)
	UPDATE job SET
		state       = CASE state WHEN 'queued' THEN 'running' ELSE state END,
		attempt     = attempt + 1,
		lost        = lost + (locked_by IS NOT NULL)::integer,
		fence       = nextval('job_fence'),
		locked_by   = $2,
		lease_until = now() + $3::interval,
		started_at  = coalesce(started_at, now())
	FROM picked LEFT JOIN unflushed ON true
	WHERE id = picked_id
	RETURNING ` + jobColumns + `, fence, failures, panics, lost, code, fresh`

type claimed struct {
	Job
	Fence                  int64
	Failures, Panics, Lost int
	Code                   int
	Fresh                  bool
}

// claim returns nothing on trouble: the next tick tries again. A shutdown does not interrupt it, because PostgreSQL may
// carry out what we no longer hear the answer of, and the jobs would wait for the end of a lease that nobody holds.
func (r *Runner) claim(ctx context.Context, limit int) []*lease {
	query, stop := recordCtx(ctx)
	defer stop()
	at := time.Now() // before the database starts to count
	got, err := r.book.claim(query, limit, r.cfg.Name, r.cfg.Lease, slices.Collect(maps.Keys(r.kinds)), r.cfg.UnknownAfter)
	if err == nil {
		return r.hold(ctx, got, at)
	}
	if ctx.Err() == nil {
		r.cfg.Log.Warn("jobs: claim", "err", err)
	}
	return nil
}

func (t tables) claim(ctx context.Context, limit int, name string, lease time.Duration, kinds []string, unknownAfter time.Duration) ([]claimed, error) {
	rows, err := t.pool.Query(ctx, claimSQL, limit, name, lease, kinds, unknownAfter)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByName[claimed])
}

func (r *Runner) hold(ctx context.Context, got []claimed, at time.Time) []*lease {
	leases := make([]*lease, len(got))
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, c := range got {
		l := &lease{
			run:   &Run{Job: c.Job, fence: c.Fence},
			cause: causeOf(c), fresh: c.Fresh, failures: c.Failures, panics: c.Panics, lost: c.Lost,
		}
		work, traced := trace.Job(rpc.WithRequest(ctx, c.RequestID), c.RequestID, c.Kind)
		l.traced = traced
		l.ctx, l.end = context.WithCancelCause(work)
		l.do, l.cancel = context.WithCancelCause(l.ctx)
		l.expiry = time.AfterFunc(time.Until(at.Add(r.cfg.Lease)), func() { l.end(ErrLeaseLost) })
		r.leases[l.run.ID] = l
		leases[i] = l
	}
	return leases
}

// drop forgets a lease that is over.
func (r *Runner) drop(l *lease) {
	l.expiry.Stop()
	l.end(nil)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.leases[l.run.ID] == l {
		delete(r.leases, l.run.ID)
	}
}

// renewed moves the end of the lease: the database counts from a moment after at.
func (r *Runner) renewed(l *lease, at time.Time) {
	if l.expiry.Stop() { // else it has fired: too late
		l.expiry.Reset(time.Until(at.Add(r.cfg.Lease)))
	}
}
