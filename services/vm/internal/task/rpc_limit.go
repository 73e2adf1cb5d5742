package task

import (
	"context"

	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/unit"
)

// GetTaskTimeout reads how long the tasks of a kind may run.
func (s *Server) GetTaskTimeout(ctx context.Context, r *vmpb.GetTaskTimeoutRequest) (*vmpb.TaskTimeout, error) {
	if err := checkKind(r.GetName()); err != nil {
		return nil, err
	}
	seconds, err := limitOf(ctx, s.db.Pool, r.GetName())
	return &vmpb.TaskTimeout{TimeoutSeconds: seconds}, err
}

// SetTaskTimeout limits how long the tasks of a kind may run.
func (s *Server) SetTaskTimeout(ctx context.Context, r *vmpb.SetTaskTimeoutRequest) (*vmpb.TaskTimeout, error) {
	if err := checkKind(r.GetName()); err != nil {
		return nil, err
	}
	if err := checkSeconds(r.GetTimeoutSeconds()); err != nil {
		return nil, err
	}
	return s.setTimeout(ctx, r.GetName(), r.GetTimeoutSeconds())
}

// ResetTaskTimeout ends the limit of the tasks of a kind.
func (s *Server) ResetTaskTimeout(ctx context.Context, r *vmpb.ResetTaskTimeoutRequest) (*vmpb.TaskTimeout, error) {
	if err := checkKind(r.GetName()); err != nil {
		return nil, err
	}
	return s.setTimeout(ctx, r.GetName(), 0)
}

// setTimeout records the limit of a kind in seconds, 0 for none.
func (s *Server) setTimeout(ctx context.Context, kind string, seconds int32) (resp *vmpb.TaskTimeout, err error) {
	err = s.db.InTx(ctx, func(tx *unit.Tx) error {
		before, err := limitOf(ctx, tx, kind)
		if err != nil {
			return err
		}
		audit.Of(ctx).Change(map[string]any{"timeout_seconds": before}, map[string]any{"timeout_seconds": seconds})
		return setLimit(ctx, tx, kind, seconds)
	})
	if err != nil {
		return nil, err
	}
	return &vmpb.TaskTimeout{TimeoutSeconds: seconds}, s.limits.Read(ctx, s.db)
}
