package machine

import (
	"context"

	"slipway.dev/pkg/jobs"
)

// Argument is the argument of a job of a host: Args, or a type that embeds Args.
type Argument interface{ Plain() Args }

// Plain returns what the arguments of all jobs of a host have.
func (a Args) Plain() Args { return a }

// do is what a step of any job of a host does.
type do = func(context.Context, *jobs.Run, Args) error

// Of returns f for jobs that have more arguments.
func Of[A Argument](f do) func(context.Context, *jobs.Run, A) error {
	return func(ctx context.Context, run *jobs.Run, a A) error { return f(ctx, run, a.Plain()) }
}

// Exchange returns the steps of a job that starts a host with the machine that s makes of the host's. bring are the steps that
// bring to the node what only that machine has: until they are done the host runs as before. boot starts the machine.
func Exchange[A Argument](s *Steps, boot do, bring ...jobs.Step[A]) []jobs.Step[A] {
	list := append([]jobs.Step[A]{{Name: "network", Do: Of[A](s.EnsureNetwork), Timeout: StepTime}}, bring...)
	return append(list, []jobs.Step[A]{
		{Name: "stop", Do: Of[A](s.Stop), Undo: Of[A](s.Resume), Timeout: StopTime},
		{Name: "seed", Do: Of[A](s.EnsureSeed), Undo: Of[A](s.RestoreSeed), Timeout: StepTime},
		{Name: "define", Do: Of[A](s.Define), Undo: Of[A](s.RestoreDefinition), Timeout: StepTime},
		{Name: "start", Do: Of[A](boot), Undo: Of[A](s.Halt), Timeout: StopTime},
	}...)
}
