package reinstall

import (
	"context"

	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/crash"
	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/host"
	"slipway.dev/services/vm/internal/listing"
	"slipway.dev/services/vm/internal/task"
)

// pointKept is where a reinstallation is kept and not yet answered.
var pointKept = crash.At("vm.reinstall.committed")

// Server answers the part of vm.v3.UpkeepService that reinstalls hosts.
type Server struct{ db *unit.DB }

// NewServer returns a Server.
func NewServer(db *unit.DB) *Server { return &Server{db} }

// ReinstallHost checks that the host can have the OS, and records what the job is to make of it.
func (s *Server) ReinstallHost(ctx context.Context, r *vmpb.ReinstallHostRequest) (resp *vmpb.ReinstallHostResponse, err error) {
	w := wish{OS: r.GetOs(), Image: r.GetImage(), Disk: r.GetDisk(), Password: r.GetPassword()}
	if err := w.check(); err != nil {
		return nil, err
	}
	if err := host.CheckPassword(w.Password); err != nil {
		return nil, err
	}
	hash, err := host.HashPassword(w.Password)
	if err != nil {
		return nil, err
	}
	err = s.db.InTx(ctx, func(tx *unit.Tx) error {
		h, err := host.Lock(ctx, tx, r.GetId(), listing.Owner(ctx))
		if err != nil {
			return err
		}
		t, err := s.admit(ctx, tx, h, w)
		if err != nil {
			return err
		}
		if h.State == host.Active || h.State == host.Paused {
			h.State = host.Stopping
		}
		if err := host.Save(ctx, tx, h); err != nil {
			return err
		}
		job, err := task.Enqueue(ctx, tx, reinstallKind, task.HostKey(h.ID), h.AccountID, h.NodeID, h.Args(false))
		if err != nil {
			return err
		}
		audit.Of(ctx).Change(map[string]any{"os": h.OSID}, map[string]any{"os": t.OS, "disk": t.Disk, "password": w.Password != ""})
		c := change{Host: h.ID, Disk: t.Disk, OS: t.OS, Name: next(t.Name, job.ID), Template: t.SHA256, Hash: hash}
		if err := insert(ctx, tx, job.ID, c); err != nil {
			return err
		}
		resp = &vmpb.ReinstallHostResponse{Id: h.ID, Task: job.ID}
		return tx.Answer(ctx, resp)
	})
	if err != nil {
		return nil, err
	}
	pointKept.Hit()
	return resp, nil
}

// admit refuses what can never succeed on a locked host.
func (s *Server) admit(ctx context.Context, tx *unit.Tx, h *host.Host, w wish) (t target, err error) {
	if h.State == host.Deleting {
		return t, host.ErrDeleting.With("host %d is being deleted", h.ID)
	}
	if err := h.Unprotected(); err != nil {
		return t, err
	}
	if err := h.OnDisks(); err != nil {
		return t, err
	}
	caller, _ := identity.From(ctx)
	if t, err = read(ctx, tx, h.ID, w.OS, caller.Admin()); err != nil {
		return t, err
	}
	if err := t.check(w); err != nil {
		return t, err
	}
	return t, task.Admit(ctx, tx, h.ID)
}
