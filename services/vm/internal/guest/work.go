package guest

import (
	"context"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/jobs"
	"slipway.dev/services/vm/internal/host"
	"slipway.dev/services/vm/internal/machine"
)

// Kinds of jobs, the dialect's names of the tasks.
const (
	passwordKind = "host_password"
	agentKind    = "host_guest_agent"
)

// attempts last some minutes with the runner's backoff, capped at 30 s.
const attempts = 8

// What the task of a password says of its end.
const (
	inGuest = "The guest agent has set the password."
	atStart = "The guest agent does not answer, or is that of a rescue system or a CD: the guest takes the password at its next start."
)

type worker struct {
	in    func(pgx.Tx) Tx
	steps *machine.Steps
}

// Register registers the handlers that reach into guests. in returns the Tx of a job's transaction, made says which
// password a job gives a machine.
//
// The seed has the password before the agent is asked: whatever dies in between, the guest has the password at its next
// start.
func Register(r *jobs.Runner, in func(pgx.Tx) Tx, made machine.Make, steps *machine.Steps) {
	w := &worker{in, steps.Making(made)}
	jobs.Handle(r, passwordKind, jobs.Handler[machine.Args]{
		Steps: []jobs.Step[machine.Args]{
			{Name: "seed", Do: w.steps.EnsureSeed, Undo: w.steps.RestoreSeed, Timeout: machine.StepTime},
			{Name: "agent", Do: w.steps.SetPassword, Timeout: machine.StepTime},
		},
		Done: w.set, Failed: w.failed, Attempts: attempts,
	})
	jobs.Handle(r, agentKind, jobs.Handler[machine.Args]{
		Steps: []jobs.Step[machine.Args]{
			// A machine from before there were agents gets the channel, with its next start.
			{Name: "define", Do: steps.Define, Timeout: machine.StepTime},
			{Name: "agent", Do: steps.AskGuest, Timeout: machine.StepTime},
		},
		Attempts: attempts,
	})
}

// set records the password, and says how the guest gets it.
func (w *worker) set(ctx context.Context, tx pgx.Tx, run *jobs.Run, a machine.Args) error {
	t := w.in(tx)
	h, err := t.Host(ctx, a.ID, 0)
	if err != nil {
		return err
	}
	// In rescue mode the agent is that of the rescue system, or of what lies on a CD: the host's own guest takes the password at
	// its next start.
	answered, text := w.steps.Answered(run) && h.Rescue == "" && h.CD == "", atStart
	if answered {
		text = inGuest
	}
	if err := t.PasswordSet(ctx, a.ID, run.ID, answered); err != nil {
		return err
	}
	if err := t.Remark(ctx, run.ID, text); err != nil {
		return err
	}
	return host.Emit(ctx, t, h, "updated")
}

// failed forgets the password.
func (w *worker) failed(ctx context.Context, tx pgx.Tx, run *jobs.Run, _ machine.Args, _ *fault.Fault) error {
	return w.in(tx).Forget(ctx, run.ID)
}
