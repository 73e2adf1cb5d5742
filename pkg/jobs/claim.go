package jobs

import (
	"context"
	"maps"
	"math"
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
	party    backend.Party // of the job, which its worker may change
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
	aside  *time.Timer // takes the worker from a job that runs for long
	traced func(error) // ends the span of this attempt

	timedOut bool // a step on the node did, since the job is a probe; breakers.mu guards it
}

// claim leases up to limit jobs. After an error it returns none, and the next tick tries again. A shutdown does not
// interrupt the statement: PostgreSQL might carry it out although its answer is lost, and the jobs would wait until leases
// end that no runner holds.
func (r *Runner) claim(ctx context.Context, limit int) []*lease {
	query, stop := recordCtx(ctx)
	defer stop()
	c := backend.Claim{
		Limit: limit, Name: r.cfg.Name, Lease: r.cfg.Lease, Kinds: slices.Collect(maps.Keys(r.kinds)),
		UnknownAfter: r.cfg.UnknownAfter, Shares: r.shares(),
	}
	at := time.Now() // before the database starts to count
	claimed, err := r.backend.Claim(query, c)
	if err == nil {
		err = r.explain(query, c.Shut)
	}
	if err != nil && ctx.Err() == nil {
		r.cfg.Log.Warn("jobs: claim", "err", err)
	}
	return r.hold(ctx, claimed, at)
}

// shares returns what bounds the next claim.
func (r *Runner) shares() backend.Shares {
	r.claims++
	r.mu.Lock()
	s := r.crew.shares()
	r.mu.Unlock()
	s.Shut, s.Probed = r.breakers.doors()
	s.Pivot = int32(r.jitter(backend.Lease{Fence: r.claims}, math.MaxInt32)) // #nosec G115 -- below that
	return s
}

// explain gives the jobs that wait for a shut node the reason, as often as the runner looks for jobs by itself.
func (r *Runner) explain(ctx context.Context, shut []int32) error {
	if len(shut) == 0 || time.Since(r.explained) < r.cfg.Poll {
		return nil
	}
	r.explained = time.Now()
	return r.backend.Explain(ctx, shut, backend.ErrNodeHangs)
}

// hold keeps the claimed jobs as leases that end when the database ends them.
func (r *Runner) hold(ctx context.Context, claimed []backend.Claimed, at time.Time) []*lease {
	leases := make([]*lease, len(claimed))
	byTurn(claimed)
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, c := range claimed {
		l := &lease{
			run:   &Run{Job: c.Job, fence: c.Fence},
			party: c.Party(),
			cause: causeOf(c), fresh: c.Fresh, failures: c.Failures, panics: c.Panics, lost: c.Lost,
		}
		l.run.begun = l.began
		work, traced := trace.Job(rpc.WithRequest(ctx, c.RequestID), c.RequestID, c.Kind)
		l.traced = traced
		l.ctx, l.end = context.WithCancelCause(work)
		l.do, l.cancel = context.WithCancelCause(l.ctx)
		l.expiry = time.AfterFunc(time.Until(at.Add(r.cfg.Lease)), func() { l.end(ErrLeaseLost) })
		r.leases[l.run.ID] = l
		r.crew.busy[l], r.crew.served = struct{}{}, c.AccountID
		r.breakers.begin(l)
		l.aside = r.patience(l)
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
	r.breakers.ended(l, l.ctx.Err() == nil)
	l.expiry.Stop()
	l.aside.Stop()
	l.end(nil)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.leases[l.run.ID] == l {
		delete(r.leases, l.run.ID)
	}
	r.crew.leave(l)
	signal(r.freed) // and its key may have a next job
}

// renewed moves the end of the lease: the database counts from a moment after at.
func (r *Runner) renewed(l *lease, at time.Time) {
	if l.expiry.Stop() { // else it has fired: too late
		l.expiry.Reset(time.Until(at.Add(r.cfg.Lease)))
	}
}

// key returns what identifies the lease at the backend.
func (l *lease) key() backend.Lease { return backend.Lease{ID: l.run.ID, Fence: l.run.fence} }
