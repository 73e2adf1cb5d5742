package agent

import (
	"context"

	"github.com/google/uuid"

	nodepb "slipway.dev/proto/node/v1"

	"slipway.dev/pkg/clamp"
	"slipway.dev/services/node/internal/hyper"
)

// AdaptMachine changes the definition, and a running machine with it. With deferred, a running machine keeps both.
func (a *Agent) AdaptMachine(ctx context.Context, r *nodepb.AdaptMachineRequest) (*nodepb.AdaptMachineResponse, error) {
	resp := &nodepb.AdaptMachineResponse{}
	return resp, a.command(ctx, atAdapt, r.GetCommand(), func(ctx context.Context, id uuid.UUID) error {
		s, err := a.driver.State(ctx, id)
		if err != nil {
			return err
		}
		resp.Running = s.Power == hyper.Running || s.Power == hyper.Paused
		if resp.GetRunning() && r.GetDeferred() {
			return nil
		}
		if err := a.define(ctx, id, r.GetMachine(), r.GetCommand().GetFence()); err != nil {
			return err
		}
		has, err := a.driver.Adapt(ctx, id, r.GetLive())
		// A guest that powered off meanwhile has what its definition says, from its next start on.
		resp.Running = has.CPUs > 0
		resp.CpuNumber, resp.RamMib = clamp.Int32(has.CPUs), clamp.Int32(has.MemoryMiB)
		resp.Disks = has.Disks
		return err
	})
}
