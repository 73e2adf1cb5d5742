package iso

import (
	"cmp"
	"context"

	"github.com/google/uuid"

	oppb "slipway.dev/proto/op/v1"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/crash"
	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/fetch"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/host"
	"slipway.dev/services/vm/internal/machine"
	"slipway.dev/services/vm/internal/node"
)

// pointKept is where a request is kept and not yet answered.
var pointKept = crash.At("vm.iso.committed")

// Server answers the part of vm.v3.UpkeepService that starts hosts from CDs.
type Server struct {
	db   *unit.DB
	dial node.Dial
}

// NewServer returns a Server.
func NewServer(db *unit.DB, dial node.Dial) *Server { return &Server{db, dial} }

// MountISO records that a host is to start from a CD whose image is downloaded first.
func (s *Server) MountISO(ctx context.Context, r *vmpb.MountISORequest) (*oppb.Operation, error) {
	if err := fetch.Check(r.GetUrl(), true); err != nil {
		return nil, err
	}
	return s.mount(ctx, r.GetId(), args{URL: r.GetUrl()})
}

// UploadISO records that a host is to start from a CD whose image TakeISO brought to its node.
func (s *Server) UploadISO(ctx context.Context, r *vmpb.UploadISORequest) (*oppb.Operation, error) {
	if _, err := uuid.Parse(r.GetUpload()); err != nil {
		return nil, fault.Invalid.With("the image is missing")
	}
	return s.mount(ctx, r.GetId(), args{Upload: r.GetUpload()})
}

// mount records that a host is to start from the image that a names.
func (s *Server) mount(ctx context.Context, id int32, a args) (*oppb.Operation, error) {
	return host.Operate(ctx, s.db, id, pointKept, func(tx *unit.Tx, h *host.Host) (*oppb.Operation, error) {
		if err := mountable(ctx, tx, h); err != nil {
			return nil, err
		}
		audit.Of(ctx).Change(map[string]any{"iso": ""}, map[string]any{"iso": cmp.Or(public(a.URL), "upload")})
		a.Args = h.Args(false)
		return host.Enqueue(ctx, tx, h, mountKind, a)
	})
}

// mountable returns an error if no image can be mounted on a locked host.
func mountable(ctx context.Context, tx *unit.Tx, h *host.Host) error {
	if h.State == host.Deleting {
		return host.ErrDeleting.With("host %d is being deleted", h.ID)
	}
	if err := h.OnDisks(); err != nil {
		return err
	}
	job, err := unfinished(ctx, tx, h.ID, mountKind)
	if err == nil && job != 0 {
		err = machine.ErrISO.With("task %d mounts an ISO image on host %d: cancel that first", job, h.ID)
	}
	return err
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
