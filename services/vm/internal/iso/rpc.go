package iso

import (
	"context"

	oppb "slipway.dev/proto/op/v1"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/crash"
	"slipway.dev/pkg/fetch"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/host"
	"slipway.dev/services/vm/internal/machine"
)

// pointKept is where a request is kept and not yet answered.
var pointKept = crash.At("vm.iso.committed")

// Server answers the part of vm.v3.UpkeepService that starts hosts from CDs.
type Server struct{ db *unit.DB }

// NewServer returns a Server.
func NewServer(db *unit.DB) *Server { return &Server{db} }

// MountISO records that a host is to start from a CD whose image is downloaded first.
func (s *Server) MountISO(ctx context.Context, r *vmpb.MountISORequest) (*oppb.Operation, error) {
	if err := fetch.Check(r.GetUrl(), true); err != nil {
		return nil, err
	}
	return host.Operate(ctx, s.db, r.GetId(), pointKept, func(tx *unit.Tx, h *host.Host) (*oppb.Operation, error) {
		if err := h.OnDisks(); err != nil {
			return nil, err
		}
		job, err := unfinished(ctx, tx, h.ID, mountKind)
		if err != nil {
			return nil, err
		}
		if job != 0 {
			return nil, machine.ErrISO.With("task %d mounts an ISO image on host %d: cancel that first", job, h.ID)
		}
		audit.Of(ctx).Change(map[string]any{"iso": ""}, map[string]any{"iso": public(r.GetUrl())})
		return host.Enqueue(ctx, tx, h, mountKind, args{h.Args(false), r.GetUrl()})
	})
}

// FinishISO records that a host is to start from its disks again.
func (s *Server) FinishISO(ctx context.Context, r *vmpb.FinishISORequest) (*oppb.Operation, error) {
	return host.Operate(ctx, s.db, r.GetId(), pointKept, func(tx *unit.Tx, h *host.Host) (*oppb.Operation, error) { return finish(ctx, tx, h) })
}

// CancelISO aborts the task that mounts an image on a host, or does what FinishISO does if the image is mounted.
func (s *Server) CancelISO(ctx context.Context, r *vmpb.CancelISORequest) (*oppb.Operation, error) {
	return host.Operate(ctx, s.db, r.GetId(), pointKept, func(tx *unit.Tx, h *host.Host) (*oppb.Operation, error) {
		job, err := unfinished(ctx, tx, h.ID, mountKind)
		if err != nil {
			return nil, err
		}
		if job == 0 {
			return finish(ctx, tx, h)
		}
		if _, err := tx.StopJob(ctx, job); err != nil {
			return nil, err
		}
		return &oppb.Operation{Id: h.ID, Task: job}, nil
	})
}

func finish(ctx context.Context, tx *unit.Tx, h *host.Host) (*oppb.Operation, error) {
	if h.CD == "" {
		return nil, errNotMounted.With("host %d has no ISO image mounted", h.ID)
	}
	switch job, err := unfinished(ctx, tx, h.ID, finishKind); {
	case err != nil:
		return nil, err
	case job != 0:
		return nil, errNotMounted.With("task %d removes the ISO image of host %d already", job, h.ID)
	}
	audit.Of(ctx).Change(map[string]any{"iso": h.CD}, map[string]any{"iso": ""})
	if h.State == host.Active || h.State == host.Paused {
		h.State = host.Stopping
	}
	if err := host.Save(ctx, tx, h); err != nil {
		return nil, err
	}
	return host.Enqueue(ctx, tx, h, finishKind, args{Args: h.Args(false)})
}
