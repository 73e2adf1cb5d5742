package agent

import (
	"context"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"

	nodepb "slipway.dev/proto/node/v1"

	"slipway.dev/pkg/fault"
)

// ErrNotProven is the fault of the removal of a machine that does not match the proof.
var ErrNotProven = fault.New(codes.FailedPrecondition, "MACHINE_NOT_PROVEN", "the machine is not proven to be a leftover")

// removeLeftover removes a machine that no user asked to remove, if the machine matches the proof in the request. It
// removes nothing where no machine is defined, because files without a definition prove nothing.
func (a *Agent) removeLeftover(ctx context.Context, id uuid.UUID, r *nodepb.RemoveMachineRequest) error {
	// Check this before the journal records the removal: a refused command must leave nothing behind.
	there, err := a.proven(ctx, id, r.GetProof())
	if err != nil || !there {
		return err
	}
	return a.journal.DoRemoval(ctx, id, orderOf(r.GetCommand()), func(ctx context.Context) error {
		there, err := a.proven(ctx, id, r.GetProof())
		if err != nil || !there {
			return err
		}
		return a.driver.Remove(ctx, id)
	})
}

// proven compares the machine with the proof; there is false if the machine is not defined here.
func (a *Agent) proven(ctx context.Context, id uuid.UUID, p *nodepb.Proof) (there bool, err error) {
	list, err := a.driver.List(ctx)
	if err != nil {
		return false, err
	}
	for _, o := range list {
		if o.UUID != id {
			continue
		}
		m := o.Meta
		if p.GetStackId() == "" || m.StackID != a.stackID || m.StackID != p.GetStackId() ||
			m.NodeID != a.nodeID || m.NodeID != p.GetNode() || m.Fence <= 0 || m.Fence > p.GetMaxFence() {
			return true, ErrNotProven
		}
		return true, nil
	}
	return false, nil
}
