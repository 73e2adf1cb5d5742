package simulate

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	ippb "slipway.dev/proto/ip/v3"
	nodepb "slipway.dev/proto/node/v1"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/fence"
	"slipway.dev/services/internal/modelnode"
)

// errRefused is what a deaf worker hears instead of ErrStale.
var errRefused = fault.New(codes.FailedPrecondition, "REFUSED", "the node refused the command")

// agentClient speaks with the agent of a node over the network.
type agentClient struct {
	nodepb.NodeServiceClient
	p  *process
	to *place
}

// command sends one that shapes or runs a machine. It meets the node as the node is when the command arrives, which may have
// been put back from a backup since.
func command[Q interface{ GetCommand() *nodepb.Command }, A any](ctx context.Context, c agentClient, verb string, q Q,
	do func(*modelnode.Node, context.Context, Q) (A, error),
) (A, error) {
	w, o := c.p.w, q.GetCommand()
	what := fmt.Sprintf("%s %s %d.%d", verb, o.GetMachine(), o.GetFence(), o.GetStep())
	said := order{o.GetFence(), o.GetStep()}
	if w.plant.fenceless {
		o.Fence, o.Step = 1, 0
	}
	c.p.commands(what, said)
	a, err := send(ctx, c.p, c.to, what, func() (A, error) {
		before := c.to.node.Machines[o.GetMachine()]
		a, err := do(c.to.node, context.Background(), q)
		w.commanded(c.to, o.GetMachine(), said, before, err)
		return a, err
	})
	return a, c.p.heard(said, err)
}

// commands looks at a command before it is sent: an attempt that was refused as stale must send no more.
func (p *process) commands(what string, at order) {
	_ = p.w.happen(func() error {
		if p.stale[at.fence] {
			p.w.break_("%s: %s was sent by an attempt that was refused as stale", p.boot, what)
		}
		return nil
	})
}

// heard notes that the attempt with this number has heard that it is stale. A deaf worker takes that for any other refusal.
func (p *process) heard(at order, err error) error {
	if !fence.IsStale(err) {
		return err
	}
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	p.stale[at.fence] = true
	if p.w.plant.deaf {
		return errRefused
	}
	return err
}

func (c agentClient) EnsureNetwork(ctx context.Context, q *nodepb.EnsureNetworkRequest, _ ...grpc.CallOption) (*nodepb.EnsureNetworkResponse, error) {
	return send(ctx, c.p, c.to, "network", func() (*nodepb.EnsureNetworkResponse, error) {
		return c.to.node.EnsureNetwork(context.Background(), q)
	})
}

func (c agentClient) EnsureDisk(ctx context.Context, q *nodepb.EnsureDiskRequest, _ ...grpc.CallOption) (*nodepb.EnsureDiskResponse, error) {
	return command(ctx, c, "disk", q, (*modelnode.Node).EnsureDisk)
}

func (c agentClient) EnsureSeed(ctx context.Context, q *nodepb.EnsureSeedRequest, _ ...grpc.CallOption) (*nodepb.EnsureSeedResponse, error) {
	return command(ctx, c, "seed", q, (*modelnode.Node).EnsureSeed)
}

func (c agentClient) DefineMachine(ctx context.Context, q *nodepb.DefineMachineRequest, _ ...grpc.CallOption) (*nodepb.DefineMachineResponse, error) {
	return command(ctx, c, "define", q, (*modelnode.Node).DefineMachine)
}

func (c agentClient) StartMachine(ctx context.Context, q *nodepb.StartMachineRequest, _ ...grpc.CallOption) (*nodepb.StartMachineResponse, error) {
	return command(ctx, c, "start", q, (*modelnode.Node).StartMachine)
}

func (c agentClient) StopMachine(ctx context.Context, q *nodepb.StopMachineRequest, _ ...grpc.CallOption) (*nodepb.StopMachineResponse, error) {
	return command(ctx, c, "stop", q, (*modelnode.Node).StopMachine)
}

func (c agentClient) RemoveMachine(ctx context.Context, q *nodepb.RemoveMachineRequest, _ ...grpc.CallOption) (*nodepb.RemoveMachineResponse, error) {
	verb := "remove"
	if q.GetProof() != nil {
		verb = "reap"
	}
	return command(ctx, c, verb, q, (*modelnode.Node).RemoveMachine)
}

func (c agentClient) ListMachines(ctx context.Context, q *nodepb.ListMachinesRequest, _ ...grpc.CallOption) (*nodepb.ListMachinesResponse, error) {
	return send(ctx, c.p, c.to, "List", func() (*nodepb.ListMachinesResponse, error) {
		return c.to.node.ListMachines(context.Background(), q)
	})
}

// ipClient speaks with ip over the network.
type ipClient struct {
	ippb.AddressServiceClient
	p *process
}

func (c ipClient) Reserve(ctx context.Context, q *ippb.ReserveRequest, _ ...grpc.CallOption) (*ippb.ReserveResponse, error) {
	return send(ctx, c.p, c.p.w.ipAway, "reserve "+q.GetOwner(), func() (*ippb.ReserveResponse, error) { return c.p.w.ip.reserve(q) })
}

func (c ipClient) Confirm(ctx context.Context, q *ippb.ConfirmRequest, _ ...grpc.CallOption) (*ippb.ConfirmResponse, error) {
	return send(ctx, c.p, c.p.w.ipAway, "confirm "+q.GetOwner(), func() (*ippb.ConfirmResponse, error) {
		return &ippb.ConfirmResponse{}, c.p.w.ip.confirm(q)
	})
}

func (c ipClient) Release(ctx context.Context, q *ippb.ReleaseRequest, _ ...grpc.CallOption) (*ippb.ReleaseResponse, error) {
	return send(ctx, c.p, c.p.w.ipAway, "release "+q.GetOwner(), func() (*ippb.ReleaseResponse, error) {
		c.p.w.ip.release(q)
		return &ippb.ReleaseResponse{}, nil
	})
}
