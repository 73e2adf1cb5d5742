package machine

import (
	"context"

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

// restored returns how an undo on the node ended. A machine whose disks are gone has nothing to restore: an error would
// block all later jobs of the host, its delete too.
func restored(err error) error {
	if f, ok := fault.From(err); ok && f.Reason == "DISK_NOT_READY" {
		return nil
	}
	return err
}
