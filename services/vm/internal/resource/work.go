package resource

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/jobs"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/host"
	"slipway.dev/services/vm/internal/machine"
)

// kind of the job, the dialect's name of the task.
const kind = "host_change_params"

// attempts last some minutes with the runner's backoff, capped at 30 s.
const attempts = 8

// args is the argument of the job.
type args struct {
	machine.Args
	Change Change  `json:"change"`
	Before waiting `json:"before"`
}

// waiting is what waited for the next start of the host before the request.
type waiting struct {
	CPUs *int32 `json:"cpus,omitempty"`
	RAM  *int32 `json:"ram,omitempty"`
}

// Tx is what jobs do in the unit of work in which they end.
type Tx interface {
	Host(ctx context.Context, id, owner int32) (*host.Host, error)
	Resized(ctx context.Context, id, job int32, change func(*host.Host)) error
	host.Emitter
}

// Rows returns the Tx of the tables.
func Rows(tx *unit.Tx) Tx { return host.Rows(tx).(Tx) } //nolint:forcetypeassert // the rows of hosts have the method

type worker struct {
	in    func(pgx.Tx) Tx
	steps *machine.Steps
}

// Register registers the handler that changes resources. in returns the Tx of a job's transaction.
func Register(r *jobs.Runner, in func(pgx.Tx) Tx, steps *machine.Steps) {
	w := &worker{in, steps}
	jobs.Handle(r, kind, jobs.Handler[args]{
		Steps: []jobs.Step[args]{{Name: "machine", Do: w.adapt, Undo: w.restore, Timeout: machine.StepTime}},
		Done:  w.done, Failed: w.failed, Attempts: attempts,
	})
}

// adapt changes the machine. It may run twice, as its part may.
func (w *worker) adapt(ctx context.Context, run *jobs.Run, a args) error {
	ran, err := w.steps.Adapt(ctx, run, a.Args, machine.Adaption{Size: a.Change.size(), Change: a.Change.apply, Deferred: a.Change.Deferred})
	if err == nil {
		run.Memo = ran
	}
	return err
}

// restore gives the machine the limits from before. It may run twice, as its part may.
func (w *worker) restore(ctx context.Context, run *jobs.Run, a args) error {
	return w.steps.RestoreMachine(ctx, run, a.Args)
}

// done records what the machine has now. When an earlier attempt has changed it, that is not known for sure: a size that may have
// been reached waits for the next start.
func (w *worker) done(ctx context.Context, tx pgx.Tx, run *jobs.Run, a args) error {
	ran, known := run.Memo.(machine.Adapted)
	if !known {
		ran.Running = true
	}
	return w.end(ctx, tx, a, func(h *host.Host) { a.Change.settle(h, ran) }, run.ID)
}

// failed takes back what waits for the next start, unless a later request has replaced it.
func (w *worker) failed(ctx context.Context, tx pgx.Tx, run *jobs.Run, a args, _ *fault.Fault) error {
	return w.end(ctx, tx, a, func(h *host.Host) {
		if h.ResizeTask != nil && *h.ResizeTask == run.ID {
			h.Withdraw(a.Before.CPUs, a.Before.RAM)
		}
	}, run.ID)
}

func (w *worker) end(ctx context.Context, tx pgx.Tx, a args, change func(*host.Host), job int32) error {
	t := w.in(tx)
	if err := t.Resized(ctx, a.ID, job, change); err != nil {
		return err
	}
	h, err := t.Host(ctx, a.ID, 0)
	if err != nil || h.State == host.Deleting {
		if errors.Is(err, fault.NotFound) {
			return nil // deleted meanwhile: the task ends all the same
		}
		return err
	}
	return host.Emit(ctx, t, h, "updated")
}
