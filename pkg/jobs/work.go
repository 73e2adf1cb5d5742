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
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/trace"
)

const (
	maxPanics = 3
	// maxLost is how many workers may die on one step before the job is taken to be what kills them.
	maxLost = 10
	// txTime bounds Done and Failed, which wait for nothing but PostgreSQL.
	txTime = time.Minute
)

var pointClaim = crash.At("job.claim.after")

// work makes one attempt at a job and says so in one line.
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

// attempt brings the job as far as it goes and returns how that ended, with the reason when it is not done.
func (r *Runner) attempt(l *lease) (string, error) {
	w := r.kinds[l.run.Kind]
	if l.ctx.Err() != nil {
		return r.letGo(l, w, context.Cause(l.ctx)) // claimed during the shutdown
	}
	if w == nil {
		return outcome("failed", r.giveUp(l, ErrKind), ErrKind)
	}
	args, err := w.decode(l.run.Args)
	if err != nil {
		return outcome("failed", r.giveUp(l, ErrArgs), ErrArgs.Wrap(err))
	}
	if !l.fresh {
		if l.steps, err = r.recorded(l); err != nil {
			return r.letGo(l, w, bookkeeping{err})
		}
	}
	if l.run.State == Undoing {
		return r.takeBack(l, w, args)
	}
	switch {
	case l.run.CancelRequested:
		err = ErrCanceled
	case l.lost >= maxLost:
		err = Permanent(ErrLost)
	default:
		err = r.carryOut(l, w, args)
	}
	if err == nil {
		return "done", nil
	}
	return r.judge(l, w, args, err)
}

// judge decides what an error of carryOut means.
func (r *Runner) judge(l *lease, w *work, args any, err error) (string, error) {
	lastTry := w.attempts > 0 && l.failures+1 >= w.attempts
	_, ours := errors.AsType[bookkeeping](err)
	_, panicked := errors.AsType[panicked](err)
	switch {
	case stopped(l.ctx, err):
		return r.letGo(l, w, err)
	case errors.Is(err, ErrCanceled) || errors.Is(context.Cause(l.do), ErrCanceled):
		err = ErrCanceled
	case ours, errors.Is(err, pg.ErrUnknownCommit):
		return r.letGo(l, w, err)
	case IsPermanent(err), lastTry, panicked && l.panics+1 >= maxPanics:
	default:
		return r.letGo(l, w, err)
	}
	if turnErr := r.turn(l, err); turnErr != nil {
		return r.letGo(l, w, turnErr)
	}
	end, undoErr := r.takeBack(l, w, args)
	return end, errors.Join(err, undoErr)
}

// letGo ends an attempt that is not the last one.
func (r *Runner) letGo(l *lease, w *work, err error) (string, error) {
	if stopped(l.ctx, err) {
		if errors.Is(err, ErrLeaseLost) || errors.Is(context.Cause(l.ctx), ErrLeaseLost) {
			return "lost", errors.Join(ErrLeaseLost, err)
		}
		return outcome("put back", r.release(l, again{uncount: true}), nil)
	}
	_, ours := errors.AsType[bookkeeping](err)
	_, panicked := errors.AsType[panicked](err)
	wait := min(w.backoff<<min(l.failures, 16), w.maxBackoff)
	return outcome("retry", r.release(l, again{
		after: r.jitter(l, wait) + 1, err: err, failure: !ours, panicked: panicked,
	}), err)
}

// stopped reports whether the runner or the lease ended, not the job.
func stopped(ctx context.Context, err error) bool {
	return ctx.Err() != nil || errors.Is(err, ErrLeaseLost)
}

// outcome is what was meant to be recorded, unless that failed.
func outcome(meant string, recordErr, err error) (string, error) {
	if recordErr != nil {
		return "lost", errors.Join(recordErr, err)
	}
	return meant, err
}

func (r *Runner) recorded(l *lease) ([]StepRecord, error) {
	ctx, stop := recordCtx(l.ctx)
	defer stop()
	return r.book.steps(ctx, l.run.ID)
}

// carryOut does every step that is not done, then Done.
func (r *Runner) carryOut(l *lease, w *work, args any) error {
	for _, s := range w.steps {
		rec := l.record(s.name)
		if rec.State == StepDone {
			continue
		}
		if err := r.advance(l, &rec); err != nil {
			return err
		}
		l.current = rec.Seq
		l.run.step++
		r.hit(l, s.name, "before")
		if err := call(l.do, s.name, s.timeout, func(ctx context.Context) error { return s.do(ctx, l.run, args) }); err != nil {
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
		return r.book.inTx(ctx, func(tx pgx.Tx) error {
			if err := w.done(ctx, tx, l.run, args); err != nil {
				return fmt.Errorf("done: %w", err)
			}
			return r.book.finish(ctx, tx, l.held(), l.pending)
		})
	})
	if err != nil {
		if l.pending > 0 && !errors.Is(err, ErrLeaseLost) {
			return errors.Join(err, r.advance(l, nil)) // so that the last step is not done again
		}
		return err
	}
	r.hit(l, "done", "after")
	return nil
}

// record returns what is known of a step, or what to record when it is started.
func (l *lease) record(name string) StepRecord {
	for _, rec := range l.steps {
		if rec.Name == name {
			return rec
		}
	}
	return StepRecord{Seq: len(l.steps) + 1, Name: name, State: StepStarted}
}

// takeBack undoes all steps in reverse, then marks the job failed or canceled.
func (r *Runner) takeBack(l *lease, w *work, args any) (string, error) {
	err := r.undo(l, w, args)
	if err != nil {
		return r.letGo(l, w, fmt.Errorf("undo: %w", err))
	}
	if errors.Is(l.cause, ErrCanceled) {
		return "canceled", nil
	}
	return "failed", nil
}

func (r *Runner) undo(l *lease, w *work, args any) error {
	for i := len(l.steps) - 1; i >= 0; i-- {
		rec := &l.steps[i]
		s, known := w.step(rec.Name)
		if rec.State == StepUndone || !known || s.undo == nil {
			continue
		}
		l.current = rec.Seq
		l.run.step++
		r.hit(l, s.name, "undo.before")
		if err := call(l.ctx, "undo "+s.name, s.timeout, func(ctx context.Context) error { return s.undo(ctx, l.run, args) }); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		r.hit(l, s.name, "undo.after")
		if err := r.undone(l, rec.Seq); err != nil {
			return err
		}
		rec.State, l.current = StepUndone, 0
	}
	r.hit(l, "failed", "before")
	err := call(context.WithoutCancel(l.ctx), "record", txTime, func(ctx context.Context) error {
		return r.book.inTx(ctx, func(tx pgx.Tx) error {
			if err := w.failed(ctx, tx, l.run, args, l.cause); err != nil {
				return fmt.Errorf("failed: %w", err)
			}
			return r.book.fail(ctx, tx, l.held())
		})
	})
	if err == nil {
		r.hit(l, "failed", "after")
	}
	return err
}

// hit is a place where a test may kill the process: job.<kind>.<step>.before, .after, .undo.before, .undo.after, and
// job.<kind>.done.* and job.<kind>.failed.* round the last transaction. job.claim.after is the one before all of them.
func (r *Runner) hit(l *lease, step, when string) {
	if crash.Armed() {
		pointOf(l.run.Kind, step, when).Hit()
	}
}

// fail is where a test may make a step fail for good, although it was done.
func (r *Runner) fail(l *lease, step string) error {
	if !crash.Armed() {
		return nil
	}
	return Permanent(pointOf(l.run.Kind, step, "after").Fail())
}

func pointOf(kind, step, when string) crash.Point {
	return crash.Point("job." + kind + "." + step + "." + when)
}

// declare tells the points of a kind. A step without an undo has none of its undo.
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
	if undoes || w.takesBack {
		add("failed", "before")
		add("failed", "after")
	}
}

// panicked is a panic of a handler.
type panicked struct {
	error
	stack string
}

func (p panicked) Unwrap() error { return p.error }

// call runs f with its time and turns a panic into an error.
func call(ctx context.Context, name string, limit time.Duration, f func(context.Context) error) (err error) {
	ctx, stop := context.WithTimeoutCause(ctx, limit, ErrTimeout)
	defer stop()
	ctx, traced := trace.Step(ctx, name)
	defer func() { traced(err) }()
	defer func() {
		if p := recover(); p != nil {
			err = panicked{ErrPanic.Wrap(fmt.Errorf("panic: %v", p)), string(debug.Stack())}
		}
	}()
	err = f(ctx)
	if err != nil && errors.Is(context.Cause(ctx), ErrTimeout) {
		return ErrTimeout.Wrap(err)
	}
	return err
}
