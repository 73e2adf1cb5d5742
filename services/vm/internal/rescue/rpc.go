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
	"slipway.dev/services/vm/internal/machine"
	"slipway.dev/services/vm/internal/task"
)

// pointKept is where a request is kept and not yet answered.
var pointKept = crash.At("vm.rescue.committed")

// Server answers the part of vm.v3.UpkeepService that rescues hosts.
type Server struct{ db *unit.DB }

// NewServer returns a Server.
func NewServer(db *unit.DB) *Server { return &Server{db} }

// SetRescueMode records that a host is to start with the rescue system, or with its own disks.
func (s *Server) SetRescueMode(ctx context.Context, r *vmpb.SetRescueModeRequest) (*oppb.Operation, error) {
	if r.RescueMode == nil {
		return nil, fault.Invalid.With("required").On("rescue_mode")
	}
	return host.Operate(ctx, s.db, r.GetId(), pointKept, func(tx *unit.Tx, h *host.Host) (*oppb.Operation, error) {
		kind, a, err := s.admit(ctx, tx, h, r.GetRescueMode())
		if err != nil {
			return nil, err
		}
		if h.State == host.Active || h.State == host.Paused {
			h.State = host.Stopping
		}
		if err := host.Save(ctx, tx, h); err != nil {
			return nil, err
		}
		audit.Of(ctx).Change(map[string]any{"rescue_mode": h.Rescue != ""}, map[string]any{"rescue_mode": r.GetRescueMode()})
		job, err := task.Enqueue(ctx, tx, kind, task.HostKey(h.ID), h.AccountID, h.NodeID, a)
		return task.Operation(h.ID, job), err
	})
}

// admit refuses what can never succeed on a locked host, and returns the kind and the arguments of the job.
func (s *Server) admit(ctx context.Context, tx *unit.Tx, h *host.Host, on bool) (kind string, a args, err error) {
	switch {
	case on && h.CD != "":
		return "", a, machine.ErrISO.With("host %d has an ISO image mounted: finish that first", h.ID).On("rescue_mode")
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
