package machine

import (
	"context"

	nodepb "slipway.dev/proto/node/v1"

	"slipway.dev/pkg/jobs"
)

// Check reads the machine that the job makes, and so refuses what can no longer be made.
func (s *Steps) Check(ctx context.Context, run *jobs.Run, a Args) error {
	_, err := s.plan(ctx, run, a)
	return err
}

// Exchange makes the machine have the disks that the job makes it have, at once if it runs and the guest lets it. It may run
// twice: the agent changes what differs.
func (s *Steps) Exchange(ctx context.Context, run *jobs.Run, a Args) (Adapted, error) {
	p, agent, err := s.on(ctx, run, a)
	if err != nil {
		return Adapted{}, err
	}
	return adapt(ctx, agent, &nodepb.AdaptMachineRequest{Command: command(run, a), Machine: definition(nil, p)})
}

// Move is the way of a disk between machines, or between a machine and a place of the disk's own. Both are named by UUIDs.
type Move struct{ From, Name, To, NewName string }

// MoveDisk moves a disk on the host's node, whatever the job makes of the machine. It may run twice: a disk that was moved before
// stays.
func (s *Steps) MoveDisk(ctx context.Context, run *jobs.Run, a Args, m Move) error {
	h, err := s.read(ctx, a.ID)
	if err != nil {
		return err
	}
	agent, err := s.dial.Agent(h.Node, h.Endpoint)
	if err != nil {
		return err
	}
	c := command(run, a)
	c.Machine = m.From
	_, err = agent.MoveDisk(ctx, &nodepb.MoveDiskRequest{Command: c, Name: m.Name, To: m.To, NewName: m.NewName})
	return err
}
