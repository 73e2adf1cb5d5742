package rescue

import (
	"context"

	oppb "slipway.dev/proto/op/v1"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/crash"
	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/host"
	"slipway.dev/services/vm/internal/listing"
	"slipway.dev/services/vm/internal/task"
)

// pointKept is where a request is kept and not yet answered.
var pointKept = crash.At("vm.rescue.committed")

// Server answers the part of vm.v3.UpkeepService that rescues hosts.
type Server struct{ db *unit.DB }

// NewServer returns a Server.
func NewServer(db *unit.DB) *Server { return &Server{db} }

// SetRescueMode records that a host is to start with the rescue system, or with its own disks.
func (s *Server) SetRescueMode(ctx context.Context, r *vmpb.SetRescueModeRequest) (op *oppb.Operation, err error) {
	if r.RescueMode == nil {
		return nil, fault.Invalid.With("required").On("rescue_mode")
	}
	err = s.db.InTx(ctx, func(tx *unit.Tx) error {
		h, err := host.Lock(ctx, tx, r.GetId(), listing.Owner(ctx))
		if err != nil {
			return err
		}
		kind, a, err := s.admit(ctx, tx, h, r.GetRescueMode())
		if err != nil {
			return err
		}
		if h.State == host.Active || h.State == host.Paused {
			h.State = host.Stopping
		}
		if err := host.Save(ctx, tx, h); err != nil {
			return err
		}
		audit.Of(ctx).Change(map[string]any{"rescue_mode": h.Rescue != ""}, map[string]any{"rescue_mode": r.GetRescueMode()})
		job, err := task.Enqueue(ctx, tx, kind, task.HostKey(h.ID), h.AccountID, h.NodeID, a)
		if err != nil {
			return err
		}
		op = task.Operation(h.ID, job)
		return tx.Answer(ctx, op)
	})
	if err != nil {
		return nil, err
	}
	pointKept.Hit()
	return op, nil
}

// admit refuses what can never succeed on a locked host, and returns the kind and the arguments of the job.
func (s *Server) admit(ctx context.Context, tx *unit.Tx, h *host.Host, on bool) (kind string, a args, err error) {
	switch {
	case h.State == host.Deleting:
		return "", a, host.ErrDeleting.With("host %d is being deleted", h.ID)
	case on && h.CD != "":
		return "", a, errCD.With("host %d has an ISO image mounted: finish that first", h.ID).On("rescue_mode")
	case on && h.Rescue != "":
		return "", a, errAlready.With("host %d is in rescue mode already", h.ID).On("rescue_mode")
	case !on && h.Rescue == "":
		return "", a, errAlready.With("host %d is not in rescue mode", h.ID).On("rescue_mode")
	}
	if err := task.Admit(ctx, tx, h.ID); err != nil {
		return "", a, err
	}
	if a.Args = h.Args(false); !on {
		return leaveKind, a, nil
	}
	sys, err := read(ctx, tx, h.ID)
	if err != nil {
		return "", a, err
	}
	a.Template, a.SizeMiB = sys.SHA256, sys.MinDisk
	return enterKind, a, sys.check()
}
