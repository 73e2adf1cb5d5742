// Package modelnode is a model of the agent on a node, for simulations of the services that command agents: it has the agent's
// answers and the state of machines, but no files and no delays. TestModel in services/node compares it with the real agent.
package modelnode

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"google.golang.org/grpc/codes"

	nodepb "slipway.dev/proto/node/v1"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/fence"
)

// Faults of a node.
var (
	ErrStale      = fence.ErrStale
	ErrNotProven  = fault.New(codes.FailedPrecondition, "MACHINE_NOT_PROVEN", "the machine is not proven to be a leftover")
	ErrNotDefined = fault.New(codes.NotFound, "MACHINE_NOT_DEFINED", "the machine is not defined on this node")
	ErrNoDisk     = fault.New(codes.FailedPrecondition, "DISK_NOT_READY", "a disk of the machine is not there")
	ErrNoNetwork  = fault.New(codes.FailedPrecondition, "NETWORK_NOT_READY", "the network is not there")
)

// Node is a node with its machines and the journal of its agent. It is not safe for many goroutines.
type Node struct {
	nodepb.UnimplementedNodeServiceServer
	StackID, ID string
	Machines    map[string]Machine
	Networks    map[string]bool
	marks       map[string]mark
	timeline    int64 // the highest that was heard of
}

// Machine is the state of one machine.
type Machine struct {
	Disks     []string
	Seed      []string // addresses in it; nil for none
	Defined   bool
	Running   bool
	Network   string
	Addresses []string // that its card may use
	HostID    int32
	StackID   string
	NodeID    string
	Fence     int64 // of the last definition
}

// mark is the journal's entry of a machine.
type mark struct {
	fence   int64
	step    int32
	removed bool
}

// New makes a node without machines.
func New(stack, id string) *Node {
	return &Node{StackID: stack, ID: id, Machines: map[string]Machine{}, Networks: map[string]bool{}, marks: map[string]mark{}}
}

// Backup is a copy of everything on the node's disk.
func (n *Node) Backup() *Node {
	c := *n
	c.Machines, c.Networks, c.marks = maps.Clone(n.Machines), maps.Clone(n.Networks), maps.Clone(n.marks)
	return &c
}

// Forget loses the journal, as a planted bug does.
func (n *Node) Forget() {
	clear(n.marks)
	n.timeline = 0
}

// PowerCut stops all machines, as a reboot of the node does.
func (n *Node) PowerCut() {
	for id, m := range n.Machines {
		m.Running = false
		n.Machines[id] = m
	}
}

// accept records a command in the journal. It returns ErrStale for a command that a newer one has overtaken.
func (n *Node) accept(c *nodepb.Command, removal bool) error {
	if timeline := fence.Timeline(c.GetFence()); timeline < n.timeline {
		return ErrStale
	} else if timeline > n.timeline {
		n.timeline = timeline
	}
	m, known := n.marks[c.GetMachine()]
	same := c.GetFence() == m.fence && c.GetStep() == m.step
	switch {
	case known && (c.GetFence() < m.fence || c.GetFence() == m.fence && c.GetStep() < m.step):
		return ErrStale
	case known && m.removed && !removal && c.GetFence() == m.fence:
		return ErrStale
	case known && same && (!removal || m.removed):
		return nil
	}
	n.marks[c.GetMachine()] = mark{c.GetFence(), c.GetStep(), removal}
	return nil
}

// on runs f on a machine. A machine that f leaves empty is removed.
func (n *Node) on(c *nodepb.Command, f func(*Machine) error) error {
	if err := n.accept(c, false); err != nil {
		return err
	}
	m := n.Machines[c.GetMachine()]
	if err := f(&m); err != nil {
		return err
	}
	if m.Defined || m.Seed != nil || len(m.Disks) > 0 {
		n.Machines[c.GetMachine()] = m
	}
	return nil
}

// EnsureNetwork makes a bridge.
func (n *Node) EnsureNetwork(_ context.Context, r *nodepb.EnsureNetworkRequest) (*nodepb.EnsureNetworkResponse, error) {
	n.Networks[r.GetName()] = true
	return &nodepb.EnsureNetworkResponse{}, nil
}

// EnsureDisk makes a disk.
func (n *Node) EnsureDisk(_ context.Context, r *nodepb.EnsureDiskRequest) (*nodepb.EnsureDiskResponse, error) {
	return &nodepb.EnsureDiskResponse{}, n.on(r.GetCommand(), func(m *Machine) error {
		if name := r.GetDisk().GetName(); !slices.Contains(m.Disks, name) {
			m.Disks = append(slices.Clone(m.Disks), name)
		}
		return nil
	})
}

// EnsureSeed writes the seed.
func (n *Node) EnsureSeed(_ context.Context, r *nodepb.EnsureSeedRequest) (*nodepb.EnsureSeedResponse, error) {
	return &nodepb.EnsureSeedResponse{}, n.on(r.GetCommand(), func(m *Machine) error {
		m.seed(r)
		return nil
	})
}

func (m *Machine) seed(r *nodepb.EnsureSeedRequest) {
	m.Seed = append([]string{}, addresses(r.GetLinks())...)
}

func addresses(links []*nodepb.Link) (list []string) {
	for _, l := range links {
		list = append(list, l.GetAddresses()...)
	}
	return list
}

// DefineMachine makes or changes the definition.
func (n *Node) DefineMachine(_ context.Context, r *nodepb.DefineMachineRequest) (*nodepb.DefineMachineResponse, error) {
	return &nodepb.DefineMachineResponse{}, n.on(r.GetCommand(), func(m *Machine) error {
		return n.define(m, r, r.GetCommand().GetFence())
	})
}

func (n *Node) define(m *Machine, r *nodepb.DefineMachineRequest, fence int64) error {
	for _, d := range r.GetDisks() {
		if !slices.Contains(m.Disks, d.GetName()) {
			return ErrNoDisk
		}
	}
	if m.Seed == nil {
		return ErrNoDisk
	}
	m.Defined, m.Network, m.Addresses = true, r.GetLinks()[0].GetNetwork(), addresses(r.GetLinks())
	m.StackID, m.NodeID, m.HostID, m.Fence = n.StackID, n.ID, r.GetHostId(), fence
	return nil
}

// StartMachine starts a machine.
func (n *Node) StartMachine(_ context.Context, r *nodepb.StartMachineRequest) (*nodepb.StartMachineResponse, error) {
	c, resp := r.GetCommand(), &nodepb.StartMachineResponse{}
	steps := []func(*Machine) error{
		func(m *Machine) error {
			if resp.Running = m.Running; !m.Running && r.GetSeed() != nil {
				m.seed(r.GetSeed())
			}
			return nil
		},
		func(m *Machine) error {
			if m.Running || r.GetMachine() == nil {
				return nil
			}
			return n.define(m, r.GetMachine(), c.GetFence())
		},
		n.start,
	}
	for _, step := range steps { // what an earlier one did stays
		if err := n.on(c, step); err != nil {
			return resp, err
		}
	}
	return resp, nil
}

func (n *Node) start(m *Machine) error {
	switch {
	case !m.Defined:
		return ErrNotDefined
	case !m.Running && !n.Networks[m.Network]:
		return ErrNoNetwork
	}
	m.Running = true
	return nil
}

// StopMachine stops a machine; the guest obeys at once.
func (n *Node) StopMachine(_ context.Context, r *nodepb.StopMachineRequest) (*nodepb.StopMachineResponse, error) {
	return &nodepb.StopMachineResponse{Forced: r.GetForce()}, n.on(r.GetCommand(), func(m *Machine) error {
		if !m.Defined && !r.GetForce() {
			return ErrNotDefined
		}
		m.Running = false
		return nil
	})
}

// RemoveMachine removes every trace of a machine; a removal that no user asked for needs a matching proof.
func (n *Node) RemoveMachine(_ context.Context, r *nodepb.RemoveMachineRequest) (*nodepb.RemoveMachineResponse, error) {
	id := r.GetCommand().GetMachine()
	m := n.Machines[id]
	if p := r.GetProof(); p != nil {
		switch {
		case !m.Defined:
			return &nodepb.RemoveMachineResponse{}, nil
		case p.GetStackId() == "" || m.StackID != n.StackID || m.StackID != p.GetStackId(),
			m.NodeID != n.ID || m.NodeID != p.GetNode(), m.Fence <= 0 || m.Fence > p.GetMaxFence():
			return &nodepb.RemoveMachineResponse{}, ErrNotProven
		}
	}
	if err := n.accept(r.GetCommand(), true); err != nil {
		return &nodepb.RemoveMachineResponse{}, err
	}
	delete(n.Machines, id)
	return &nodepb.RemoveMachineResponse{}, nil
}

// ListMachines lists the defined machines, unless they are as before.
func (n *Node) ListMachines(_ context.Context, r *nodepb.ListMachinesRequest) (*nodepb.ListMachinesResponse, error) {
	n.timeline = max(n.timeline, r.GetTimeline())
	resp := &nodepb.ListMachinesResponse{Timeline: n.timeline}
	for _, id := range slices.Sorted(maps.Keys(n.Machines)) {
		m := n.Machines[id]
		if !m.Defined {
			continue
		}
		state := nodepb.MachineState_MACHINE_STATE_OFF
		if m.Running {
			state = nodepb.MachineState_MACHINE_STATE_RUNNING
		}
		resp.Machines = append(resp.Machines, &nodepb.Machine{
			Uuid: id, State: state, HostId: m.HostID, StackId: m.StackID, Node: m.NodeID, Fence: m.Fence,
		})
	}
	resp.AsOf = fmt.Sprint("as of ", resp.GetMachines())
	if r.GetAsOf() == resp.GetAsOf() {
		resp.Machines, resp.Unchanged = nil, true
	}
	return resp, nil
}
