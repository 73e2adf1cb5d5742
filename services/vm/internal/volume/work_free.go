package volume

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	nodepb "slipway.dev/proto/node/v1"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/jobs"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/disk"
	"slipway.dev/services/vm/internal/node"
)

// freeDisks are the steps of jobs of disks without a host. Such a disk lies in a place of its own, which is to the agent what a
// machine is: commands for it are fenced alike.
type freeDisks struct {
	db   *unit.DB
	dial node.Dial
}

// on returns the disk with a connection to its node.
func (f *freeDisks) on(ctx context.Context, a args) (lying, nodepb.NodeServiceClient, error) {
	l, err := locate(ctx, f.db.Pool, a.Disk)
	if err != nil {
		return l, nil, err
	}
	agent, err := f.dial.Agent(l.Node, l.Endpoint)
	return l, agent, err
}

func command(run *jobs.Run, l lying) *nodepb.Command {
	return &nodepb.Command{Machine: l.Place.String(), Fence: run.Fence(), Step: run.Step()}
}

// ensure makes the disk, or enlarges it. It may run twice: a disk that is there in its size is left alone.
func (f *freeDisks) ensure(ctx context.Context, run *jobs.Run, a args) error {
	l, agent, err := f.on(ctx, a)
	if err != nil {
		return err
	}
	_, err = agent.EnsureDisk(ctx, &nodepb.EnsureDiskRequest{
		Command: command(run, l), Disk: &nodepb.Disk{Name: l.Name, SizeMib: l.SizeMiB, Template: l.Template},
	})
	return err
}

// remove removes the disk with its place. It may run twice: removing what is gone succeeds.
func (f *freeDisks) remove(ctx context.Context, run *jobs.Run, a args) error {
	l, agent, err := f.on(ctx, a)
	if err != nil {
		return err
	}
	_, err = agent.RemoveMachine(ctx, &nodepb.RemoveMachineRequest{Command: command(run, l)})
	return err
}

// released records that the disk is as its row says.
func released(ctx context.Context, tx pgx.Tx, run *jobs.Run, _ args) error {
	return disk.Release(ctx, unit.In(tx), run.ID)
}

// dropped records that there is no disk, and gives back its room.
func dropped(ctx context.Context, tx pgx.Tx, _ *jobs.Run, a args, _ *fault.Fault) error {
	t := unit.In(tx)
	d, err := disk.Lock(ctx, t, a.Disk, 0)
	if errors.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := disk.Delete(ctx, t, d.ID); err != nil {
		return err
	}
	return refund(ctx, t, d.Account, d.Node, d.SizeMiB)
}
