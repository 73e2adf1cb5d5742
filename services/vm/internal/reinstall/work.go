package reinstall

import (
	"context"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/jobs"
	"slipway.dev/services/vm/internal/host"
	"slipway.dev/services/vm/internal/machine"
	"slipway.dev/services/vm/internal/power"
	"slipway.dev/services/vm/internal/task"
)

// Kinds of jobs, the dialect's names of the tasks.
const (
	reinstallKind = "host_reinstall"
	freeKind      = "disk_free"
)

// attempts last some minutes with the runner's backoff, capped at 30 s.
const attempts = 8

// freeArgs is the argument of the job that removes what a host has no more.
type freeArgs struct {
	machine.Args
	Disk string `json:"disk"`
}

type worker struct {
	in    func(pgx.Tx) Tx
	steps *machine.Steps
	plain *machine.Steps
}

// Register registers the handlers that reinstall hosts. in returns the Tx of a job's transaction, made says what the job
// makes of a machine.
//
// The new disk is complete before the machine stops, and the old one is there until the host is recorded with the new one:
// a job that fails leaves the machine with the old disk, running if it is to run.
func Register(r *jobs.Runner, in func(pgx.Tx) Tx, made machine.Make, steps *machine.Steps) {
	w := &worker{in, steps.Making(made).Booting(), steps}
	s := w.steps
	jobs.Handle(r, reinstallKind, jobs.Handler[machine.Args]{
		Steps: machine.Exchange(s, s.BootWanted, jobs.Step[machine.Args]{
			Name: "disk", Do: s.MakeFresh, Undo: s.Unmake, Timeout: machine.StepTime,
		}),
		Done: w.done, Failed: w.failed, Attempts: attempts,
	})
	jobs.Handle(r, freeKind, jobs.Handler[freeArgs]{
		Steps: []jobs.Step[freeArgs]{{Name: "disk", Do: w.free, Timeout: machine.StepTime}},
	})
}

// done records the host with its new disk, and has the old one removed.
func (w *worker) done(ctx context.Context, tx pgx.Tx, run *jobs.Run, a machine.Args) error {
	t := w.in(tx)
	h, err := t.Host(ctx, a.ID, 0)
	if err != nil {
		return err
	}
	old, err := t.Reinstalled(ctx, h, run.ID)
	if err != nil {
		return err
	}
	if b, started := w.steps.Booted(run); started && h.Wanted == host.WantActive {
		if err := t.Booted(ctx, a.ID, b); err != nil {
			return err
		}
	}
	if old != "" {
		_, err := t.Enqueue(ctx, jobs.New{
			Kind: freeKind, Key: task.HostKey(a.ID), Args: freeArgs{a, old}, AccountID: h.AccountID, NodeID: h.NodeID,
			CreatedBy: run.CreatedBy, RequestID: run.RequestID,
		})
		if err != nil {
			return err
		}
	}
	return host.Settle(ctx, t, a.ID, h.Resting(), "reinstalled")
}

// failed records that the host has its old disk.
func (w *worker) failed(ctx context.Context, tx pgx.Tx, run *jobs.Run, a machine.Args, _ *fault.Fault) error {
	t := w.in(tx)
	if err := t.Forget(ctx, run.ID); err != nil {
		return err
	}
	return power.AsBefore(ctx, t, a.ID)
}

// free removes a disk that the host has no more. It may run twice: removing what is gone succeeds.
func (w *worker) free(ctx context.Context, run *jobs.Run, a freeArgs) error {
	return w.plain.RemoveDisk(ctx, run, a.Args, a.Disk)
}
