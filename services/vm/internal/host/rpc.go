package host

import (
	"context"

	oppb "slipway.dev/proto/op/v1"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/crash"
	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/jobs"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/account"
	"slipway.dev/services/vm/internal/address"
	"slipway.dev/services/vm/internal/disk"
	"slipway.dev/services/vm/internal/listing"
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

// ListHostHistory lists the operations on a host.
func (s *Server) ListHostHistory(ctx context.Context, r *vmpb.ListHostHistoryRequest) (*vmpb.ListHostHistoryResponse, error) {
	if _, err := find(ctx, s.db, r.GetId(), listing.Owner(ctx)); err != nil {
		return nil, err
	}
	return task.History(ctx, s.db, r.GetQuery(), r.GetId())
}

// UpdateHost changes name, comment, protection, and what happens without the owner. Nothing on the node depends on them, so
// there is no task.
func (s *Server) UpdateHost(ctx context.Context, r *vmpb.UpdateHostRequest) (*vmpb.UpdateHostResponse, error) {
	if r.Name != nil {
		if err := checkName(r.GetName()); err != nil {
			return nil, err
		}
	}
	if err := checkComment(r.GetComment()); err != nil {
		return nil, err
	}
	balance, err := balanced(r.GetBalancerMode())
	if err != nil {
		return nil, err
	}
	err = s.db.InTx(ctx, func(tx *unit.Tx) error {
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
		if r.BalancerMode != nil {
			h.Balanced = balance
		}
		if r.IsProtected != nil {
			h.Protected = r.GetIsProtected()
		}
		if r.Autostart != nil {
			h.Autostart = r.GetAutostart()
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
	m := map[string]any{
		"name": h.Name, "comment": h.Comment, "balanced": h.Balanced, "is_protected": h.Protected, "autostart": h.Autostart,
	}
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
		if err := disk.CheckStaying(ctx, tx, h.ID); err != nil {
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
