package jobs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/crash"
	"slipway.dev/pkg/fence"
	"slipway.dev/pkg/jobs/internal/backend"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/trace"
)

const (
	maxPanics = 3
	// maxLost is how many workers may die on one step before the job is blamed for their deaths.
	maxLost = 10
	// txTime bounds Done and Failed, which wait for nothing but PostgreSQL.
	txTime = time.Minute
	// staleShift makes the wait after a stale command as long as after so many failures.
	staleShift = 4
)

var pointClaim = crash.At("job.claim.after")

// work makes one attempt at a job and writes one line to the log.
func (r *Runner) work(l *lease) {
	defer r.drop(l)
	start := time.Now()
	pointClaim.Hit()
	end, err := r.attempt(l)
	l.traced(err)
	level := slog.LevelInfo
	switch {
	case end == "failed":
		level = slog.LevelError
	case err != nil:
		level = slog.LevelWarn
	}
	attrs := []slog.Attr{
		slog.Int("job", int(l.run.ID)), slog.String("kind", l.run.Kind), slog.String("key", l.run.Key),
		slog.Int("attempt", l.run.Attempt), slog.String("outcome", end), slog.Duration("took", time.Since(start)),
		slog.String("request", l.run.RequestID),
	}
	if err != nil {
		attrs = append(attrs, slog.Any("err", err))
	}
	if p, ok := errors.AsType[panicked](err); ok {
		attrs = append(attrs, slog.String("stack", p.stack))
	}
	r.cfg.Log.LogAttrs(context.WithoutCancel(l.ctx), level, "job", attrs...)
}

// attempt carries out the job and returns the outcome, with the reason if the job is not done.
func (r *Runner) attempt(l *lease) (string, error) {
	w := r.kinds[l.run.Kind]
	if l.ctx.Err() != nil {
		return r.putBack(l, w, context.Cause(l.ctx)) // claimed during the shutdown
	}
	if w == nil {
		return outcome("failed", r.giveUp(l, errKind), errKind)
	}
	args, err := w.decode(l.run.Args)
	if err != nil {
		return outcome("failed", r.giveUp(l, errArgs), errArgs.Wrap(err))
	}
	if !l.fresh {
		if l.steps, err = r.recorded(l); err != nil {
			return r.putBack(l, w, bookkeeping{err})
		}
	}
	if l.run.State == Undoing {
		return r.undoAll(l, w, args)
	}
	switch {
	case l.run.CancelRequested:
		err = ErrCanceled
	case l.lost >= maxLost:
		err = Permanent(errLost)
	default:
		stop := r.limit(l)
		err = r.carryOut(l, w, args)
		stop()
	}
	if err == nil {
		return "done", nil
	}
	return r.handleError(l, w, args, err)
}

// limit ends the steps of a job when it has run for as long as its kind may. The function that limit returns ends that.
func (r *Runner) limit(l *lease) (stop func()) {
	limit := r.cfg.Limit(l.run.Kind)
	if limit <= 0 {
		return func() {}
	}
	if l.run.StartedAt != nil {
		limit -= time.Since(*l.run.StartedAt)
	}
	if limit <= 0 {
		l.cancel(errTooLong)
		return func() {}
	}
	t := time.AfterFunc(limit, func() { l.cancel(errTooLong) })
	return func() { t.Stop() }
}

// handleError puts the job back for a retry after err, or undoes it.
func (r *Runner) handleError(l *lease, w *work, args any, err error) (string, error) {
	lastTry := w.attempts > 0 && l.failures+1 >= w.attempts
	_, ours := errors.AsType[bookkeeping](err)
	_, panicked := errors.AsType[panicked](err)
	switch {
	case stopped(l.ctx, err):
		return r.putBack(l, w, err)
	case fence.IsStale(err): // this process is out of date, so it must not undo what another one may have done
		return r.putBack(l, w, err)
	case errors.Is(err, ErrCanceled) || errors.Is(context.Cause(l.do), ErrCanceled):
		err = ErrCanceled
	case errors.Is(context.Cause(l.do), errTooLong):
		err = Permanent(errTooLong)
	case ours, errors.Is(err, pg.ErrUnknownCommit):
		return r.putBack(l, w, err)
	case isPermanent(err), lastTry, panicked && l.panics+1 >= maxPanics:
	default:
		return r.putBack(l, w, err)
	}
	if startErr := r.startUndo(l, err); startErr != nil {
		return r.putBack(l, w, startErr)
	}
	end, undoErr := r.undoAll(l, w, args)
	return end, errors.Join(err, undoErr)
}

// putBack ends an attempt that is not the last one and returns its outcome.
func (r *Runner) putBack(l *lease, w *work, err error) (string, error) {
	if stopped(l.ctx, err) {
		if errors.Is(err, ErrLeaseLost) || errors.Is(context.Cause(l.ctx), ErrLeaseLost) {
			return "lost", errors.Join(ErrLeaseLost, err)
		}
		return outcome("put back", r.release(l, backend.Release{Attempts: -1}), nil)
	}
	_, ours := errors.AsType[bookkeeping](err)
	_, panicked := errors.AsType[panicked](err)
	stale := fence.IsStale(err)
	wait := min(w.backoff<<min(l.failures, 16), w.maxBackoff)
	if stale {
		wait = min(max(wait, w.backoff<<staleShift), w.maxBackoff)
		r.cfg.Stale()
	}
	return outcome("retry", r.release(l, backend.Release{
		After: r.jitter(l.key(), wait) + 1, Fault: public(err), Failures: count(!ours && !stale), Panics: count(panicked),
	}), err)
}

// stopped reports whether the runner or the lease ended, not the job.
func stopped(ctx context.Context, err error) bool {
	return ctx.Err() != nil || errors.Is(err, ErrLeaseLost)
}

// outcome returns the intended outcome, or "lost" if recording it failed.
func outcome(intended string, recordErr, err error) (string, error) {
	if recordErr != nil {
		return "lost", errors.Join(recordErr, err)
	}
	return intended, err
}

// recorded returns the steps of the job that earlier attempts recorded.
func (r *Runner) recorded(l *lease) ([]StepRecord, error) {
	ctx, stop := recordCtx(l.ctx)
	defer stop()
	return r.backend.Steps(ctx, l.run.ID)
}

// carryOut runs every step that is not done, then Done.
func (r *Runner) carryOut(l *lease, w *work, args any) error {
	for _, s := range w.steps {
		rec := l.record(s.name)
		if rec.State == backend.StepDone {
			continue
		}
		if err := r.advance(l, &rec); err != nil {
			return err
		}
		l.current = rec.Seq
		l.run.step++
		r.hit(l, s.name, "before")
		if err := r.call(l.do, l, s, s.name, func(ctx context.Context) error { return s.do(ctx, l.run, args) }); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		if err := r.fail(l, s.name); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		r.hit(l, s.name, "after")
		l.pending, l.current = rec.Seq, 0
		if l.do.Err() != nil {
			return errors.Join(r.advance(l, nil), context.Cause(l.do))
		}
	}
	r.hit(l, "done", "before")
	err := call(context.WithoutCancel(l.ctx), "record", txTime, func(ctx context.Context) error {
		return r.backend.InTx(ctx, func(tx pgx.Tx) error {
			if err := w.done(ctx, tx, l.run, args); err != nil {
				return fmt.Errorf("done: %w", err)
			}
			return booked("record end", r.backend.Finish(ctx, tx, l.key(), l.pending))
		})
	})
	if err != nil {
		if l.pending > 0 && !errors.Is(err, ErrLeaseLost) {
			return errors.Join(err, r.advance(l, nil)) // so that the last step does not run again
		}
		return err
	}
	r.hit(l, "done", "after")
	return nil
}

// record returns the record of a step, or a new one if the step was never started.
func (l *lease) record(name string) StepRecord {
	for _, rec := range l.steps {
		if rec.Name == name {
			return rec
		}
	}
	return StepRecord{Seq: len(l.steps) + 1, Name: name, State: backend.StepStarted}
}

// undoAll undoes all steps in reverse, then marks the job failed or canceled.
func (r *Runner) undoAll(l *lease, w *work, args any) (string, error) {
	err := r.undo(l, w, args)
	if err != nil {
		return r.putBack(l, w, fmt.Errorf("undo: %w", err))
	}
	if errors.Is(l.cause, ErrCanceled) {
		return "canceled", nil
	}
	return "failed", nil
}

// undo undoes all steps in reverse, then marks the job failed or canceled.
func (r *Runner) undo(l *lease, w *work, args any) error {
	for i := len(l.steps) - 1; i >= 0; i-- {
		rec := &l.steps[i]
		s := w.step(rec.Name)
		if rec.State == backend.StepUndone || s.undo == nil {
			continue
		}
		l.current = rec.Seq
		l.run.step++
		r.hit(l, s.name, "undo.before")
		undo := func(ctx context.Context) error { return s.undo(ctx, l.run, args) }
		if err := r.call(l.ctx, l, s, "undo "+s.name, undo); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		r.hit(l, s.name, "undo.after")
		if err := r.undone(l, rec.Seq); err != nil {
			return err
		}
		rec.State, l.current = backend.StepUndone, 0
	}
	r.hit(l, "failed", "before")
	err := call(context.WithoutCancel(l.ctx), "record", txTime, func(ctx context.Context) error {
		return r.backend.InTx(ctx, func(tx pgx.Tx) error {
			if err := w.failed(ctx, tx, l.run, args, l.cause); err != nil {
				return fmt.Errorf("failed: %w", err)
			}
			return booked("record end", r.backend.Fail(ctx, tx, l.key()))
		})
	})
	if err == nil {
		r.hit(l, "failed", "after")
	}
	return err
}

// hit passes a point where a test may kill the process: job.<kind>.<step>.before, .after, .undo.before, .undo.after, and
// job.<kind>.done.* and job.<kind>.failed.* around the last transaction. job.claim.after comes before all of them.
func (r *Runner) hit(l *lease, step, when string) {
	if crash.Armed() {
		pointOf(l.run.Kind, step, when).Hit()
	}
}

// fail returns a permanent error if a test wants the step to fail although it was done.
func (r *Runner) fail(l *lease, step string) error {
	if !crash.Armed() {
		return nil
	}
	return Permanent(pointOf(l.run.Kind, step, "after").Fail())
}

func pointOf(kind, step, when string) crash.Point {
	return crash.Point("job." + kind + "." + step + "." + when)
}

// declare declares the crash points of a kind. A step without an undo has none for its undo.
func (w *work) declare() {
	add := func(step, when string) { crash.Declare(string(pointOf(w.kind, step, when))) }
	undoes := false
	for _, s := range w.steps {
		add(s.name, "before")
		add(s.name, "after")
		if s.undo != nil {
			undoes = true
			add(s.name, "undo.before")
			add(s.name, "undo.after")
		}
	}
	add("done", "before")
	add("done", "after")
	if undoes || w.hasFailed {
		add("failed", "before")
		add("failed", "after")
	}
}

// panicked is the error of a handler that panicked.
type panicked struct {
	error
	stack string
}

func (p panicked) Unwrap() error { return p.error }

// call runs f, which is a step or its undo, and shows the breaker of the job's node how f ended.
func (r *Runner) call(ctx context.Context, l *lease, s stage, name string, f func(context.Context) error) error {
	err := call(ctx, name, s.timeout, f)
	if !s.apart {
		r.breakers.stepped(l, name, err)
	}
	return err
}

// call runs f with a time limit and returns a panic as an error.
func call(ctx context.Context, name string, limit time.Duration, f func(context.Context) error) (err error) {
	ctx, stop := context.WithTimeoutCause(ctx, limit, errTimeout)
	defer stop()
	ctx, traced := trace.Step(ctx, name)
	defer func() { traced(err) }()
	defer func() {
		if p := recover(); p != nil {
			err = panicked{errPanic.Wrap(fmt.Errorf("panic: %v", p)), string(debug.Stack())}
		}
	}()
	err = f(ctx)
	if err != nil && errors.Is(context.Cause(ctx), errTimeout) {
		return errTimeout.Wrap(err)
	}
	return err
}
