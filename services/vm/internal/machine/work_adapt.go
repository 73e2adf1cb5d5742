package machine

import (
	"context"

	nodepb "slipway.dev/proto/node/v1"

	"slipway.dev/pkg/jobs"
)

// Size is how many CPUs and how much RAM in MiB a machine has. A zero says nothing.
type Size struct{ CPUs, RAM int32 }

// Adaption is a change of a machine's size and limits.
type Adaption struct {
	Size     Size
	Change   func(Limits) Limits
	Deferred bool // a running machine is left as it is
}

// Adapted is how a machine was after a change.
type Adapted struct {
	Running bool
	Size    Size     // of a machine that runs
	Disks   []string // names of those that it runs with
}

// Adapt makes the machine as the change says, a running one as far as that goes. It may run twice: the agent changes what
// differs.
func (s *Steps) Adapt(ctx context.Context, run *jobs.Run, a Args, c Adaption) (Adapted, error) {
	p, agent, err := s.on(ctx, run, a)
	if err != nil {
		return Adapted{}, err
	}
	m := *p.Machine
	if m.Limits = c.Change(p.Limits); c.Size.CPUs != 0 {
		m.CPUs = c.Size.CPUs
	}
	if c.Size.RAM != 0 {
		m.RAM = c.Size.RAM
	}
	return adapt(ctx, agent, &nodepb.AdaptMachineRequest{
		Command: command(run, a), Machine: definition(nil, &plan{Machine: &m, Addresses: p.Addresses}),
		Live: m.Growing(), Deferred: c.Deferred,
	})
}

// RestoreMachine gives the machine the limits and the disks that it had before the job. It may run twice, as Adapt may.
func (s *Steps) RestoreMachine(ctx context.Context, run *jobs.Run, a Args) error {
	p, agent, err := s.before(ctx, run, a)
	if err != nil {
		return err
	}
	_, err = adapt(ctx, agent, &nodepb.AdaptMachineRequest{Command: command(run, a), Machine: definition(nil, p)})
	return restored(err)
}

func adapt(ctx context.Context, agent nodepb.NodeServiceClient, r *nodepb.AdaptMachineRequest) (Adapted, error) {
	resp, err := agent.AdaptMachine(ctx, r)
	return Adapted{resp.GetRunning(), Size{resp.GetCpuNumber(), resp.GetRamMib()}, resp.GetDisks()}, err
}

// card puts the limits of a card into its link.
func (l Limits) card(link *nodepb.Link) {
	link.InMbitps, link.OutMbitps = smallest(l.NetMbit, l.NetInMbit), smallest(l.NetMbit, l.NetOutMbit)
	for _, r := range l.Firewall {
		link.Firewall = append(link.Firewall, &nodepb.FirewallRule{
			Drop: r.Action == drop, Out: r.Direction == outward, Protocols: r.Protocols, PortStart: r.PortStart, PortEnd: r.PortEnd,
		})
	}
}

// define puts the limits of a machine into its definition.
func (l Limits) define(r *nodepb.DefineMachineRequest) {
	r.Growth = l.Growing()
	r.Cpu = &nodepb.CPULimits{Mode: l.CPUMode, Model: l.CPUModel, Nesting: l.Nesting, Weight: l.CPUWeight}
	r.DiskLimits = &nodepb.DiskLimits{
		ReadMbitps: l.IOReadMbit, WriteMbitps: l.IOWriteMbit, ReadIops: l.IOReadIOPS, WriteIops: l.IOWriteIOPS, Weight: l.IOWeight,
	}
}
