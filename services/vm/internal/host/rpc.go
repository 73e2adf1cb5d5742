package host

import (
	"context"

	"google.golang.org/protobuf/types/known/wrapperspb"

	oppb "slipway.dev/proto/op/v1"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/crash"
	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/jobs"
	"slipway.dev/pkg/stamp"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/account"
	"slipway.dev/services/vm/internal/address"
	"slipway.dev/services/vm/internal/cluster"
	"slipway.dev/services/vm/internal/listing"
	"slipway.dev/services/vm/internal/node"
	"slipway.dev/services/vm/internal/task"
)

// Peers are what hosts need of other services.
type Peers struct {
	Accounts  *account.Directory
	Addresses address.Reserver
}

// Server answers the part of vm.v3.HostService that creates, shows, renames and deletes hosts.
type Server struct {
	db    *unit.DB
	peers Peers
}

// NewServer returns a Server.
func NewServer(db *unit.DB, p Peers) *Server { return &Server{db, p} }

// ListHosts lists the hosts that the caller may see.
func (s *Server) ListHosts(ctx context.Context, r *vmpb.ListHostsRequest) (*vmpb.ListHostsResponse, error) {
	l, err := page(ctx, s.db, r.GetQuery(), listing.Owner(ctx))
	if err != nil {
		return nil, err
	}
	return &vmpb.ListHostsResponse{LastNotify: l.LastNotify, Size: l.Size, List: listing.Render(l.Rows, render)}, nil
}

// GetHost reads one host.
func (s *Server) GetHost(ctx context.Context, r *vmpb.GetHostRequest) (*vmpb.Host, error) {
	h, err := find(ctx, s.db, r.GetId(), listing.Owner(ctx))
	if err != nil {
		return nil, err
	}
	return render(&h), nil
}

func render(h *item) *vmpb.Host {
	p := &vmpb.Host{
		Id: h.ID, Name: h.Name, Comment: h.Comment, State: h.State, Domain: h.Domain, CpuNumber: h.CPUs, RamMib: h.RAM,
		Disk: &vmpb.HostDisk{Id: h.DiskID, DiskMib: h.DiskMiB, Name: h.DiskName},
		Cluster: &vmpb.HostCluster{
			Id: h.ClusterID, Name: h.Cluster,
			DatacenterType: cluster.DatacenterType, VirtualizationType: cluster.VirtualizationType,
		},
		Node:    &vmpb.HostNode{Id: h.NodeID, Name: h.Node, IpAddr: node.HostOf(h.Endpoint), MaintenanceMode: h.Maintenance},
		Account: &vmpb.HostAccount{Id: h.AccountID, Email: h.Email},
		Os:      &vmpb.HostOS{Id: h.OSID, Name: h.OS},
		OsName:  h.OS, OsGroup: h.OSGroup, DiskCount: h.DiskCount,
		Ip4: renderAddresses(h.IP4), Ip6: renderAddresses(h.IP6),
		Interfaces:   []*vmpb.HostInterface{{HostInterface: guestInterface, Mac: h.MAC, NodeInterface: h.Bridge}},
		AntiSpoofing: h.AntiSpoofing, CreateDate: stamp.Text(h.CreatedAt), InternalName: h.UUID.String(), CpuMode: "default",
	}
	if h.Task != nil {
		p.Task = wrapperspb.Int32(*h.Task)
	}
	return p
}

// guestInterface is the name of a host's only interface in the guest.
const guestInterface = "eth0"

func renderAddresses(list []string) []*vmpb.HostAddress {
	out := make([]*vmpb.HostAddress, len(list))
	for i, ip := range list {
		out[i] = &vmpb.HostAddress{Ip: ip, Interface: guestInterface}
	}
	return out
}

// ListHostHistory lists the operations on a host.
func (s *Server) ListHostHistory(ctx context.Context, r *vmpb.ListHostHistoryRequest) (*vmpb.ListHostHistoryResponse, error) {
	if _, err := find(ctx, s.db, r.GetId(), listing.Owner(ctx)); err != nil {
		return nil, err
	}
	return task.History(ctx, s.db, r.GetQuery(), r.GetId())
}

// UpdateHost changes name and comment. Nothing on the node depends on them, so there is no task.
func (s *Server) UpdateHost(ctx context.Context, r *vmpb.UpdateHostRequest) (*vmpb.UpdateHostResponse, error) {
	if r.Name != nil {
		if err := checkName(r.GetName()); err != nil {
			return nil, err
		}
	}
	if err := checkComment(r.GetComment()); err != nil {
		return nil, err
	}
	err := s.db.InTx(ctx, func(tx *unit.Tx) error {
		h, err := Lock(ctx, tx, r.GetId(), listing.Owner(ctx))
		if err != nil {
			return err
		}
		if h.State == Deleting {
			return ErrDeleting
		}
		before := auditable(h)
		if r.Name != nil {
			h.Name = r.GetName()
		}
		if r.Comment != nil {
			h.Comment = r.GetComment()
		}
		// What a user does not want of it, an administrator decides.
		if caller, _ := identity.From(ctx); r.AntiSpoofing != nil && (r.GetAntiSpoofing() || caller.Admin()) {
			h.Limited = r.AntiSpoofing
		}
		if err := Save(ctx, tx, h); err != nil {
			return err
		}
		audit.Of(ctx).Change(before, auditable(h))
		return Emit(ctx, tx, h, "updated")
	})
	if err != nil {
		return nil, err
	}
	return &vmpb.UpdateHostResponse{Id: r.GetId()}, nil
}

// auditable returns what an update may change of a host.
func auditable(h *Host) map[string]any {
	m := map[string]any{"name": h.Name, "comment": h.Comment}
	if h.Limited != nil {
		m["anti_spoofing"] = *h.Limited
	}
	return m
}

// pointDelete is where a delete is kept and not yet answered.
var pointDelete = crash.At("vm.delete.committed")

// DeleteHost records that a host is to be deleted, and cancels the jobs under way on it.
func (s *Server) DeleteHost(ctx context.Context, r *vmpb.DeleteHostRequest) (*oppb.Operation, error) {
	var job jobs.Job
	err := s.db.InTx(ctx, func(tx *unit.Tx) error {
		h, err := Lock(ctx, tx, r.GetId(), listing.Owner(ctx))
		if err != nil {
			return err
		}
		if err := h.MarkDeleting(); err != nil {
			return err
		}
		if err := tx.Cancel(ctx, task.HostKey(h.ID)); err != nil {
			return err
		}
		if err := Save(ctx, tx, h); err != nil {
			return err
		}
		job, err = task.Enqueue(ctx, tx, deleteKind, task.HostKey(h.ID), h.AccountID, h.NodeID, h.Args(false))
		return err
	})
	if err != nil {
		return nil, err
	}
	pointDelete.Hit()
	return task.Operation(r.GetId(), job), nil
}
