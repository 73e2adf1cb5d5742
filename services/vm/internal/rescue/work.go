package rescue

import (
	"context"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/jobs"
	"slipway.dev/services/vm/internal/machine"
	"slipway.dev/services/vm/internal/power"
)

// Kinds of jobs, the dialect's names of the tasks.
const (
	enterKind = "host_rescue"
	leaveKind = "host_rescue_end"
)

// attempts last some minutes with the runner's backoff, capped at 30 s.
const attempts = 8

type worker struct {
	in           func(pgx.Tx) Tx
	enter, leave *machine.Steps
}

// Register registers the handlers that start hosts with a rescue system, and back. in returns the Tx of a job's
// transaction. The host's own disks are only read and written by its guests.
func Register(r *jobs.Runner, in func(pgx.Tx) Tx, steps *machine.Steps) {
	w := &worker{
		in: in,
		enter: steps.Making(func(_ context.Context, run *jobs.Run, m *machine.Machine) error {
			return into(m, run.ID, run.Args)
		}).Booting(),
		leave: steps.Making(func(_ context.Context, _ *jobs.Run, m *machine.Machine) error { return out(m) }).Booting(),
	}
	jobs.Handle(r, enterKind, jobs.Handler[args]{
		Steps: machine.Exchange(w.enter, w.enter.Boot, jobs.Step[args]{
			Name: "disk", Do: machine.Of[args](w.enter.MakeFresh), Undo: machine.Of[args](w.enter.Unmake), Timeout: machine.StepTime,
		}),
		Done: w.entered, Failed: w.failed, Attempts: attempts,
	})
	jobs.Handle(r, leaveKind, jobs.Handler[args]{
		Steps: append(machine.Exchange[args](w.leave, w.leave.BootWanted), jobs.Step[args]{
			Name: "disk", Do: machine.Of[args](w.leave.RemoveRescue), Timeout: machine.StepTime,
		}),
		Done: w.left, Failed: w.failed, Attempts: attempts,
	})
}

// entered records that the host runs with the rescue system.
func (w *worker) entered(ctx context.Context, tx pgx.Tx, run *jobs.Run, a args) error {
	t := w.in(tx)
	if err := t.Rescued(ctx, a.ID, diskOf(run.ID), a.Template, a.SizeMiB); err != nil {
		return err
	}
	return power.Again(ctx, t, w.enter, run, a.ID, true)
}

// left records that the host has its own disks alone.
func (w *worker) left(ctx context.Context, tx pgx.Tx, run *jobs.Run, a args) error {
	t := w.in(tx)
	if err := t.Rescued(ctx, a.ID, "", "", 0); err != nil {
		return err
	}
	return power.Again(ctx, t, w.leave, run, a.ID, false)
}

// failed records the likely state of a host that is as it was.
func (w *worker) failed(ctx context.Context, tx pgx.Tx, _ *jobs.Run, a args, _ *fault.Fault) error {
	return power.AsBefore(ctx, w.in(tx), a.ID)
}
