package machine

import (
	"context"
	"errors"
	"slices"

	nodepb "slipway.dev/proto/node/v1"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/jobs"
)

// RestoreSeed writes the seed that the host had before the job. It may run twice, as EnsureSeed may.
func (s *Steps) RestoreSeed(ctx context.Context, run *jobs.Run, a Args) error {
	p, agent, err := s.before(ctx, run, a)
	if err != nil {
		return err
	}
	return restored(writeSeed(ctx, agent, command(run, a), p))
}

// RestoreDefinition defines the machine as it was before the job. It may run twice, as Define may.
func (s *Steps) RestoreDefinition(ctx context.Context, run *jobs.Run, a Args) error {
	p, agent, err := s.before(ctx, run, a)
	if err != nil {
		return err
	}
	return restored(defineOn(ctx, agent, command(run, a), p))
}

// Unmake removes the disk that the job made. It may run twice, as RemoveDisk may. A disk that the machine uses, because
// its definition could not be restored, stays.
func (s *Steps) Unmake(ctx context.Context, run *jobs.Run, a Args) error {
	p, err := s.plan(ctx, run, a)
	if errors.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil || p.Fresh == "" {
		return err
	}
	return s.RemoveUnused(ctx, run, a, p.Fresh)
}

// Halt cuts the power of a machine that the job has started. It may run twice, as Stop may.
func (s *Steps) Halt(ctx context.Context, run *jobs.Run, a Args) error {
	a.Force = true
	return restored(s.Stop(ctx, run, a))
}

// Resume starts a machine as it was before the job, if its host is to run. It may run twice, as Boot may. A machine that
// cannot be started stays off.
func (s *Steps) Resume(ctx context.Context, run *jobs.Run, a Args) error {
	p, agent, err := s.before(ctx, run, a)
	if err != nil || !p.Wanted {
		return err
	}
	_, err = agent.StartMachine(ctx, &nodepb.StartMachineRequest{
		Command: command(run, a), Seed: seedOf(nil, p), Machine: definition(nil, p),
	})
	return restored(err)
}

// lost are the reasons for which there is nothing to restore.
var lost = []string{"DISK_NOT_READY", "MACHINE_NOT_DEFINED", "NETWORK_NOT_READY", "TEMPLATE_NOT_INSTALLED"}

// restored returns how an undo on the node ended. A machine whose disks are gone has nothing to restore: an error would
// block all later jobs of the host, its delete too.
func restored(err error) error {
	if f, ok := fault.From(err); ok && slices.Contains(lost, f.Reason) {
		return nil
	}
	return err
}
