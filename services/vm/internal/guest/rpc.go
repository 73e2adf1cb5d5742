// Package guest reaches into the guests of hosts: by the agent in the guest, or by what the guest reads at its start.
package guest

import (
	"context"

	oppb "slipway.dev/proto/op/v1"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/crash"
	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/jobs"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/host"
	"slipway.dev/services/vm/internal/task"
)

// pointKept is where a request is kept and not yet answered.
var pointKept = crash.At("vm.guest.committed")

// Server answers the part of vm.v3.UpkeepService that reaches into guests.
type Server struct{ db *unit.DB }

// NewServer returns a Server.
func NewServer(db *unit.DB) *Server { return &Server{db} }

// SetHostPassword records the password that the job sets. The password itself is not kept.
func (s *Server) SetHostPassword(ctx context.Context, r *vmpb.SetHostPasswordRequest) (*oppb.Operation, error) {
	if r.GetPassword() == "" {
		return nil, fault.Invalid.With("required").On("password")
	}
	if err := host.CheckPassword(r.GetPassword()); err != nil {
		return nil, err
	}
	hash, err := host.HashPassword(r.GetPassword())
	if err != nil {
		return nil, err
	}
	return s.accept(ctx, r.GetId(), passwordKind, func(tx *unit.Tx, job jobs.Job) error {
		audit.Of(ctx).Change(nil, map[string]any{"password": true})
		return insert(ctx, tx, job.ID, r.GetId(), hash)
	})
}

// CheckGuestAgent records that the guest agent is to be asked.
func (s *Server) CheckGuestAgent(ctx context.Context, r *vmpb.CheckGuestAgentRequest) (*oppb.Operation, error) {
	return s.accept(ctx, r.GetId(), agentKind, func(*unit.Tx, jobs.Job) error { return nil })
}

// accept records a job of a host, and with it what keep keeps.
func (s *Server) accept(ctx context.Context, id int32, kind string, keep func(*unit.Tx, jobs.Job) error) (*oppb.Operation, error) {
	return host.Operate(ctx, s.db, id, pointKept, func(tx *unit.Tx, h *host.Host) (*oppb.Operation, error) {
		if err := task.Admit(ctx, tx, id); err != nil {
			return nil, err
		}
		job, err := task.Enqueue(ctx, tx, kind, task.HostKey(id), h.AccountID, h.NodeID, h.Args(false))
		if err != nil {
			return nil, err
		}
		return task.Operation(id, job), keep(tx, job)
	})
}
