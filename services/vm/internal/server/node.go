package server

import (
	"context"
	"net"
	"strconv"

	"github.com/google/uuid"

	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/fault"
	"slipway.dev/services/vm/internal/store"
	"slipway.dev/services/vm/internal/work"
)

// heartbeatSeconds is how often agents shall speak; a node is unavailable after some three beats were missed.
const heartbeatSeconds = 10

// ListNodes lists nodes.
func (s *Server) ListNodes(ctx context.Context, r *vmpb.ListNodesRequest) (*vmpb.ListNodesResponse, error) {
	l, err := s.store.Nodes(ctx, r.GetQuery())
	if err != nil {
		return nil, err
	}
	return &vmpb.ListNodesResponse{LastNotify: l.LastNotify, Size: l.Size, List: each(l.Rows, node)}, nil
}

// GetNode reads one node.
func (s *Server) GetNode(ctx context.Context, r *vmpb.GetNodeRequest) (*vmpb.Node, error) {
	n, err := s.store.Node(ctx, r.GetId())
	if err != nil {
		return nil, err
	}
	return node(&n), nil
}

func node(n *store.NodeItem) *vmpb.Node {
	p := &vmpb.Node{
		Id: n.ID, Name: n.Name, Ip: endpointHost(n.Endpoint), SshUser: "root", State: "unavailable",
		Cluster:         &vmpb.NodeCluster{Id: n.ClusterID, Name: n.Cluster, VirtualizationType: virtualizationType},
		Cpu:             &vmpb.NodeCPU{Number: n.CPUs, Used: n.CPUAllocated, Model: n.CPUModel},
		RamMib:          &vmpb.NodeRAM{Total: n.RAM, Allocated: n.RAMAllocated},
		Vm:              &vmpb.NodeHosts{Total: n.Hosts, Active: n.Active, Stopped: n.Stopped, Crashed: n.Crashed},
		MaintenanceMode: n.Maintenance, HostCreationBlocked: n.Maintenance,
		Storage: &vmpb.NodeStorage{
			SizeMib: n.Storage, UsedMib: n.Storage - n.StorageFree, AllocatedMib: n.StorageAllocated, AvailableMib: n.StorageFree,
		},
		KernelVersion: n.Kernel, OsVersion: n.OS, QemuVersion: n.QEMU, LibvirtVersion: n.Libvirt, Accel: n.Accel,
		HaState: "disabled", HaError: "no_error", InternalName: n.UUID.String(),
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
	if _, port, err := net.SplitHostPort(n.Endpoint); err == nil {
		if v, err := strconv.ParseInt(port, 10, 32); err == nil {
			p.Port = int32(v)
		}
	}
	return p
}

// RegisterNode takes a sign of life. After a reboot of the node, the hosts that shall run are started again.
func (s *Server) RegisterNode(ctx context.Context, r *vmpb.RegisterNodeRequest) (*vmpb.RegisterNodeResponse, error) {
	d := r.GetDescription()
	id, err := uuid.Parse(d.GetUuid())
	if err != nil {
		return nil, fault.Invalid.With("not a UUID").On("description.uuid")
	}
	select {
	case s.signs <- struct{}{}:
		defer func() { <-s.signs }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	var nodeID int32
	err = s.store.InTx(ctx, func(tx store.Tx) error {
		var rebooted bool
		nodeID, rebooted, err = tx.RegisterNode(ctx, store.Node{
			StackID: d.GetStackId(), UUID: id, Name: d.GetHostname(), Endpoint: r.GetEndpoint(), CPUs: d.GetCpuNumber(), CPUModel: d.GetCpuModel(),
			RAM: d.GetRamMib(), StorageMiB: d.GetStorageMib(), StorageFreeMiB: d.GetStorageFreeMib(),
			Hypervisor: d.GetHypervisor(), Accel: d.GetAccel(), Kernel: d.GetKernelVersion(), OS: d.GetOsVersion(),
			QEMU: d.GetQemuVersion(), Libvirt: d.GetLibvirtVersion(), BootID: d.GetBootId(), Bridge: d.GetBridge(), DNS: d.GetDns(),
		})
		if err != nil {
			return err
		}
		for _, t := range d.GetTemplates() {
			o := store.OS{Name: t.GetName(), SHA256: t.GetSha256(), Group: t.GetOsGroup(), MinRAM: t.GetMinRamMib(), MinDisk: t.GetMinDiskMib()}
			if err := tx.HoldOS(ctx, nodeID, o); err != nil {
				return err
			}
		}
		if rebooted {
			return startAgain(ctx, tx, nodeID)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &vmpb.RegisterNodeResponse{Id: nodeID, HeartbeatSeconds: heartbeatSeconds}, nil
}

// startAgain makes a job for each host that shall run on a node that was started anew. A host that runs already is not
// harmed: starting it succeeds at once.
func startAgain(ctx context.Context, tx store.Tx, nodeID int32) error {
	ids, err := tx.WantedHosts(ctx, nodeID)
	if err != nil {
		return err
	}
	for _, id := range ids {
		h, err := tx.Host(ctx, id, 0)
		if err != nil {
			return err
		}
		if _, err := enqueue(ctx, tx, work.HostStart, store.HostKey(id), h.AccountID, args(h, false)); err != nil {
			return err
		}
	}
	return nil
}
