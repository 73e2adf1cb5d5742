package jobs

import (
	"context"
	"maps"
	"slices"
	"time"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/jobs/internal/backend"
	"slipway.dev/pkg/rpc"
	"slipway.dev/pkg/trace"
)

// lease is a job that this runner holds.
type lease struct {
	run      *Run
	steps    []StepRecord
	cause    *fault.Fault // the reason for the undo
	fresh    bool         // the job never ran: there are no steps yet
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

// claim leases up to limit jobs. After an error it returns none, and the next tick tries again. A shutdown does not
// interrupt the statement: PostgreSQL might carry it out although its answer is lost, and the jobs would wait until leases
// end that no runner holds.
func (r *Runner) claim(ctx context.Context, limit int) []*lease {
	query, stop := recordCtx(ctx)
	defer stop()
	at := time.Now() // before the database starts to count
	claimed, err := r.backend.Claim(query, limit, r.cfg.Name, r.cfg.Lease, slices.Collect(maps.Keys(r.kinds)), r.cfg.UnknownAfter)
	if err == nil {
		return r.hold(ctx, claimed, at)
	}
	if ctx.Err() == nil {
		r.cfg.Log.Warn("jobs: claim", "err", err)
	}
	return nil
}

// hold keeps the claimed jobs as leases that end when the database ends them.
func (r *Runner) hold(ctx context.Context, claimed []backend.Claimed, at time.Time) []*lease {
	leases := make([]*lease, len(claimed))
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, c := range claimed {
		l := &lease{
			run:   &Run{Job: c.Job, fence: c.Fence},
			cause: causeOf(c), fresh: c.Fresh, failures: c.Failures, panics: c.Panics, lost: c.Lost,
		}
		l.run.begun = l.began
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

// began reports whether a step is recorded.
func (l *lease) began(step string) bool {
	return slices.ContainsFunc(l.steps, func(rec StepRecord) bool { return rec.Name == step })
}

// drop removes a lease that is over.
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

// key returns what identifies the lease at the backend.
func (l *lease) key() backend.Lease { return backend.Lease{ID: l.run.ID, Fence: l.run.fence} }
