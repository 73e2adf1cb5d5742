package power

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/jobs"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/address"
	"slipway.dev/services/vm/internal/host"
	"slipway.dev/services/vm/internal/machine"
	"slipway.dev/services/vm/internal/task"
)

// Kinds of jobs, the dialect's names of the tasks.
const (
	startKind   = "host_start"
	stopKind    = "host_stop"
	restartKind = "host_restart"
)

// attempts last some minutes with the runner's backoff, capped at 30 s.
const attempts = 8

// Tx is what jobs do in the unit of work in which they end.
type Tx interface {
	host.Tx
	Booted(ctx context.Context, host int32, b machine.Booted) error
	Stopped(ctx context.Context, host int32) error
}

// rows are the tables in a unit of work.
type rows struct {
	host.Tx
	tx *unit.Tx
}

// Rows returns the Tx of the tables.
func Rows(tx *unit.Tx) Tx { return rows{host.Rows(tx), tx} }

func (t rows) Booted(ctx context.Context, id int32, b machine.Booted) error {
	if err := host.Booted(ctx, t.tx, id, b.AntiSpoofing, b.Size); err != nil {
		return err
	}
	return address.Booted(ctx, t.tx, id, b.Addresses)
}

func (t rows) Stopped(ctx context.Context, id int32) error { return host.Halted(ctx, t.tx, id) }

type worker struct {
	in    func(pgx.Tx) Tx
	steps *machine.Steps
}

// Register registers the handlers that start, stop and restart hosts. in returns the Tx of a job's transaction.
func Register(r *jobs.Runner, in func(pgx.Tx) Tx, steps *machine.Steps) {
	steps = steps.Booting()
	w := &worker{in, steps}
	network := jobs.Step[machine.Args]{Name: "network", Do: steps.EnsureNetwork, Timeout: machine.StepTime}
	up := jobs.Step[machine.Args]{Name: "start", Do: steps.Boot, Timeout: machine.StepTime}
	down := jobs.Step[machine.Args]{Name: "stop", Do: steps.Stop, Timeout: machine.StopTime}
	handle := func(kind string, h jobs.Handler[machine.Args]) {
		h.Attempts = attempts
		jobs.Handle(r, kind, h)
	}
	handle(startKind, jobs.Handler[machine.Args]{
		Steps: []jobs.Step[machine.Args]{network, up}, Done: w.started, Failed: w.failed(host.Stopped),
	})
	handle(stopKind, jobs.Handler[machine.Args]{
		Steps: []jobs.Step[machine.Args]{down}, Done: w.stopped, Failed: w.failed(host.Unknown),
	})
	handle(restartKind, jobs.Handler[machine.Args]{
		Steps: []jobs.Step[machine.Args]{down, network, up},
		Done:  w.started, Failed: w.failed(host.Unknown),
	})
}

// started records that the host runs, and with what its guest was started.
func (w *worker) started(ctx context.Context, tx pgx.Tx, run *jobs.Run, a machine.Args) error {
	t := w.in(tx)
	if b, started := w.steps.Booted(run); started {
		if err := t.Booted(ctx, a.ID, b); err != nil {
			return err
		}
	}
	return host.Settle(ctx, t, a.ID, host.Active, "started")
}

// Again records the likely state of a host after a job that stopped its machine and started another one, with start for a host
// that is to run from now on.
func Again(ctx context.Context, t Tx, steps *machine.Steps, run *jobs.Run, id int32, start bool) error {
	h, err := t.Host(ctx, id, 0)
	if err != nil {
		return err
	}
	if start && h.State != host.Deleting {
		h.Wanted = host.WantActive
		if err := t.SaveHost(ctx, h); err != nil {
			return err
		}
	}
	if b, started := steps.Booted(run); started && h.Wanted == host.WantActive {
		if err := t.Booted(ctx, id, b); err != nil {
			return err
		}
	}
	return host.Settle(ctx, t, id, h.Resting(), "updated")
}

// AsBefore records the likely state of a host after a job that has left the machine as it was.
func AsBefore(ctx context.Context, t Tx, id int32) error {
	h, err := t.Host(ctx, id, 0)
	if errors.Is(err, fault.NotFound) {
		return nil // its create failed, and this job waited behind it
	}
	if err != nil {
		return err
	}
	return host.Settle(ctx, t, id, h.Resting(), "failed")
}

// stopped records that the host is stopped, and has what waited for that.
func (w *worker) stopped(ctx context.Context, tx pgx.Tx, _ *jobs.Run, a machine.Args) error {
	t := w.in(tx)
	if err := t.Stopped(ctx, a.ID); err != nil {
		return err
	}
	return host.Settle(ctx, t, a.ID, host.Stopped, "stopped")
}

// failed records the likely state after a job that failed; the next look at the node corrects it.
func (w *worker) failed(state host.State) func(context.Context, pgx.Tx, *jobs.Run, machine.Args, *fault.Fault) error {
	return func(ctx context.Context, tx pgx.Tx, _ *jobs.Run, a machine.Args, _ *fault.Fault) error {
		return host.Settle(ctx, w.in(tx), a.ID, state, "failed")
	}
}

// StartAgain adds a job for each host that is to run on a node that was rebooted. A host that runs already is not
// harmed: starting it succeeds at once.
func StartAgain(ctx context.Context, tx *unit.Tx, nodeID int32) error {
	ids, err := host.Rebooted(ctx, tx, nodeID)
	if err != nil {
		return err
	}
	for _, id := range ids {
		h, err := host.Lock(ctx, tx, id, 0)
		if err != nil {
			return err
		}
		if _, err := task.Enqueue(ctx, tx, startKind, task.HostKey(id), h.AccountID, h.NodeID, h.Args(false)); err != nil {
			return err
		}
	}
	return nil
}
