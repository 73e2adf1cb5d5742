package jobs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/jobs/internal/backend"
)

// bookkeeping is an error in writing the job's own rows. It is not the job's fault and does not count as a failure of it.
type bookkeeping struct{ error }

func (b bookkeeping) Unwrap() error { return b.error }

// booked wraps err as bookkeeping with the name of the write, unless err says that the lease is lost or the job canceled.
func booked(what string, err error) error {
	if err == nil || errors.Is(err, ErrLeaseLost) || errors.Is(err, ErrCanceled) {
		return err
	}
	return bookkeeping{fmt.Errorf("%s: %w", what, err)}
}

// recordCtx returns a context for a write that must happen although the job is stopped.
func recordCtx(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
}

// advance records in one round trip that the pending step is done and that the next one is started. It also renews the
// lease. next is nil when there is nothing to start.
func (r *Runner) advance(l *lease, next *StepRecord) error {
	ctx, stop := recordCtx(l.ctx)
	defer stop()
	at := time.Now()
	canceled, err := r.backend.Advance(ctx, l.key(), r.cfg.Lease, l.pending, next)
	if err != nil {
		return booked("record step", err)
	}
	r.renewed(l, at)
	if l.pending > 0 {
		l.steps[l.pending-1].State = backend.StepDone
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

// startUndo makes the job undoing. A cancel that is already there takes precedence over the failure.
func (r *Runner) startUndo(l *lease, cause error) error {
	ctx, stop := recordCtx(l.ctx)
	defer stop()
	f := public(cause)
	at := time.Now()
	canceled, err := r.backend.StartUndo(ctx, l.key(), r.cfg.Lease, f)
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

// undone records that a step is undone.
func (r *Runner) undone(l *lease, seq int) error {
	ctx, stop := recordCtx(l.ctx)
	defer stop()
	at := time.Now()
	if err := r.backend.Undone(ctx, l.key(), r.cfg.Lease, seq); err != nil {
		return booked("record undo", err)
	}
	r.renewed(l, at)
	return nil
}

// giveUp marks a job failed that cannot even be undone: its kind or its arguments are not known here.
func (r *Runner) giveUp(l *lease, f *fault.Fault) error {
	ctx, stop := recordCtx(l.ctx)
	defer stop()
	return booked("record end", r.backend.GiveUp(ctx, l.key(), f))
}

// release puts the job back for a later attempt.
func (r *Runner) release(l *lease, back backend.Release) error {
	ctx, stop := recordCtx(l.ctx)
	defer stop()
	if err := r.backend.Release(ctx, l.key(), l.current, back); err != nil {
		return booked("put back", err)
	}
	if back.After > 0 {
		time.AfterFunc(back.After+2*time.Millisecond, func() { signal(r.wake) })
	}
	return nil
}

// count returns 1 for true.
func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

// causeOf returns the stored reason for the undo, for a runner that resumes the undo.
func causeOf(c backend.Claimed) *fault.Fault {
	return &fault.Fault{Code: codes.Code(c.Code), Reason: c.Reason, Msg: c.Error} // #nosec G115 -- as it was stored
}
