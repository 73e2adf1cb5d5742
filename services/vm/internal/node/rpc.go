// Package node keeps the nodes, the room on each, and whose installation this is.
package node

import (
	"context"

	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/cluster"
	"slipway.dev/services/vm/internal/listing"
)

// Server answers the part of vm.v3.NodeService that lists nodes.
type Server struct{ db *unit.DB }

// NewServer returns a Server.
func NewServer(db *unit.DB) *Server { return &Server{db} }

// ListNodes lists nodes.
func (s *Server) ListNodes(ctx context.Context, r *vmpb.ListNodesRequest) (*vmpb.ListNodesResponse, error) {
	l, err := page(ctx, s.db, r.GetQuery())
	if err != nil {
		return nil, err
	}
	return &vmpb.ListNodesResponse{LastNotify: l.LastNotify, Size: l.Size, List: listing.Render(l.Rows, render)}, nil
}

// GetNode reads one node.
func (s *Server) GetNode(ctx context.Context, r *vmpb.GetNodeRequest) (*vmpb.Node, error) {
	n, err := find(ctx, s.db, r.GetId())
	if err != nil {
		return nil, err
	}
	return render(&n), nil
}

// SSHPort is the port of SSH on a node, where clients look for it. The port of the agent is no business of theirs.
const SSHPort = 22

func render(n *item) *vmpb.Node {
	p := &vmpb.Node{
		Id: n.ID, Name: n.Name, Ip: HostOf(n.Endpoint), IpAddr: HostOf(n.Endpoint), Port: SSHPort, SshUser: "root", State: "unavailable",
		Cluster:         &vmpb.NodeCluster{Id: n.ClusterID, Name: n.Cluster, VirtualizationType: cluster.VirtualizationType},
		Cpu:             &vmpb.NodeCPU{Number: n.CPUs, Used: n.CPUAllocated, Model: n.CPUModel},
		RamMib:          &vmpb.NodeRAM{Total: n.RAM, Allocated: n.RAMAllocated, Used: n.RAMAllocated},
		Vm:              &vmpb.NodeHosts{Total: n.Hosts, Active: n.Active, Stopped: n.Stopped, Crashed: n.Crashed},
		MaintenanceMode: n.Maintenance, HostCreationBlocked: n.Maintenance,
		Storage: &vmpb.NodeStorage{
			SizeMib: n.Storage, UsedMib: n.Storage - n.StorageFree, AllocatedMib: n.StorageAllocated, AvailableMib: n.StorageFree,
		},
		KernelVersion: n.Kernel, OsVersion: n.OS, QemuVersion: n.QEMU, LibvirtVersion: n.Libvirt, Accel: n.Accel,
		HaState: "disabled", HaError: "no_error", InternalName: n.UUID.String(),
		CpuNumber: n.CPUs, HostCount: n.Hosts, Overselling: n.Overselling,
		StorageMib: &vmpb.NodeUsage{Total: n.Storage, Used: n.Storage - n.StorageFree},
		Interfaces: []*vmpb.NodeInterface{{NodeInterface: n.Bridge}},
	}
	p.Breaker = "closed"
	if n.BreakerOpen {
		p.Breaker = "open"
	}
	if n.Alive {
		p.State = "active"
	}
	if n.LeastRAM > 0 {
		p.Vm.Estimated = max((n.RAM-n.RAMAllocated)/n.LeastRAM, 0)
	}
	return p
}
