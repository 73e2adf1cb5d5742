package iso

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/jobs"
	"slipway.dev/services/vm/internal/machine"
	"slipway.dev/services/vm/internal/power"
)

// Kinds of jobs, the dialect's names of the tasks.
const (
	mountKind  = "host_iso_mount"
	finishKind = "host_iso_finish"
)

// attempts last some minutes with the runner's backoff, capped at 30 s.
const attempts = 8

// fetchTime bounds a download. The node gives one up earlier.
const fetchTime = time.Hour

type worker struct {
	in            func(pgx.Tx) Tx
	mount, finish *machine.Steps
}

// Register registers the handlers that start hosts from CDs, and from their disks again. in returns the Tx of a job's
// transaction. The host runs as before until the whole image is on its node. How long a download takes says nothing of the node.
func Register(r *jobs.Runner, in func(pgx.Tx) Tx, steps *machine.Steps) {
	w := &worker{
		in: in,
		mount: steps.Making(func(_ context.Context, run *jobs.Run, m *machine.Machine) error {
			return into(m, run.ID)
		}).Booting(),
		finish: steps.Making(func(_ context.Context, _ *jobs.Run, m *machine.Machine) error { return out(m) }).Booting(),
	}
	jobs.Handle(r, mountKind, jobs.Handler[args]{
		Steps: machine.Exchange(w.mount, w.mount.Boot, jobs.Step[args]{
			Name: "download", Do: w.fetch, Undo: w.remove, Timeout: fetchTime, Apart: true,
		}),
		Done: w.mounted, Failed: w.failed, Attempts: attempts,
	})
	jobs.Handle(r, finishKind, jobs.Handler[args]{
		Steps: append(machine.Exchange[args](w.finish, w.finish.BootWanted), jobs.Step[args]{
			Name: "remove", Do: machine.Of[args](w.finish.RemoveCD), Timeout: machine.StepTime,
		}),
		Done: w.finished, Failed: w.failed, Attempts: attempts,
	})
}

func (w *worker) fetch(ctx context.Context, run *jobs.Run, a args) error {
	return w.mount.FetchCD(ctx, run, a.Args, nameOf(run.ID), a.URL, a.Upload)
}

func (w *worker) remove(ctx context.Context, run *jobs.Run, a args) error {
	return w.mount.RemoveUnused(ctx, run, a.Args, nameOf(run.ID))
}

// mounted records that the host runs from the CD.
func (w *worker) mounted(ctx context.Context, tx pgx.Tx, run *jobs.Run, a args) error {
	t := w.in(tx)
	if err := t.Inserted(ctx, a.ID, nameOf(run.ID)); err != nil {
		return err
	}
	return power.Again(ctx, t, w.mount, run, a.ID, true)
}

// finished records that the host has its disks alone.
func (w *worker) finished(ctx context.Context, tx pgx.Tx, run *jobs.Run, a args) error {
	t := w.in(tx)
	if err := t.Inserted(ctx, a.ID, ""); err != nil {
		return err
	}
	return power.Again(ctx, t, w.finish, run, a.ID, false)
}

// failed records the likely state of a host that is as it was.
func (w *worker) failed(ctx context.Context, tx pgx.Tx, _ *jobs.Run, a args, _ *fault.Fault) error {
	return power.AsBefore(ctx, w.in(tx), a.ID)
}
