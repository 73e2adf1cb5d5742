package power

import (
	"context"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/jobs"
	"slipway.dev/pkg/unit"
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

type worker struct{ in func(pgx.Tx) host.Tx }

// Register registers the handlers that start, stop and restart hosts. in returns the Tx of a job's transaction.
func Register(r *jobs.Runner, in func(pgx.Tx) host.Tx, steps *machine.Steps) {
	w := &worker{in}
	network := jobs.Step[machine.Args]{Name: "network", Do: steps.EnsureNetwork, Timeout: machine.StepTime}
	up := jobs.Step[machine.Args]{Name: "start", Do: steps.Start, Timeout: machine.StepTime}
	down := jobs.Step[machine.Args]{Name: "stop", Do: steps.Stop, Timeout: machine.StopTime}
	handle := func(kind string, h jobs.Handler[machine.Args]) {
		h.Attempts = attempts
		jobs.Handle(r, kind, h)
	}
	handle(startKind, jobs.Handler[machine.Args]{
		Steps: []jobs.Step[machine.Args]{network, up}, Done: w.done(host.Active, "started"), Failed: w.failed(host.Stopped),
	})
	handle(stopKind, jobs.Handler[machine.Args]{
		Steps: []jobs.Step[machine.Args]{down}, Done: w.done(host.Stopped, "stopped"), Failed: w.failed(host.Unknown),
	})
	handle(restartKind, jobs.Handler[machine.Args]{
		Steps: []jobs.Step[machine.Args]{down, network, up},
		Done:  w.done(host.Active, "started"), Failed: w.failed(host.Unknown),
	})
}

// done records the state that a job led to.
func (w *worker) done(state host.State, verb string) func(context.Context, pgx.Tx, *jobs.Run, machine.Args) error {
	return func(ctx context.Context, tx pgx.Tx, _ *jobs.Run, a machine.Args) error {
		return host.Settle(ctx, w.in(tx), a.ID, state, verb)
	}
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
	ids, err := host.Wanted(ctx, tx, nodeID)
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
