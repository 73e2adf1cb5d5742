// Package owner gives a host to another account.
package owner

import (
	"context"

	oppb "slipway.dev/proto/op/v1"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/crash"
	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/account"
	"slipway.dev/services/vm/internal/host"
	"slipway.dev/services/vm/internal/task"
)

// pointMoved is where a host has its new owner, and the request is not yet answered.
var pointMoved = crash.At("vm.owner.committed")

// Server answers the part of vm.v3.UpkeepService that changes owners.
type Server struct {
	db       *unit.DB
	accounts *account.Directory
}

// NewServer returns a Server.
func NewServer(db *unit.DB, accounts *account.Directory) *Server { return &Server{db, accounts} }

// SetHostOwner moves a host with its tasks and with what it counts for, in one unit of work; ip books its addresses by the
// event. The task that it answers has nothing left to do: it ends when the tasks that were there before have ended.
func (s *Server) SetHostOwner(ctx context.Context, r *vmpb.SetHostOwnerRequest) (*oppb.Operation, error) {
	if r.GetAccount() <= 0 {
		return nil, fault.Invalid.With("required, the id of the account that gets the host").On("account")
	}
	if err := s.accounts.Named(ctx, r.GetAccount()); err != nil {
		return nil, err
	}
	op, err := host.Operate(ctx, s.db, r.GetId(), pointMoved, func(tx *unit.Tx, h *host.Host) (*oppb.Operation, error) {
		if err := task.Admit(ctx, tx, h.ID); err != nil {
			return nil, err
		}
		if err := host.Give(ctx, tx, h, r.GetAccount()); err != nil {
			return nil, err
		}
		audit.Of(ctx).Change(map[string]any{"account": h.AccountID}, map[string]any{"account": r.GetAccount()})
		job, err := task.Enqueue(ctx, tx, moveKind, task.HostKey(h.ID), r.GetAccount(), h.NodeID, h.Args(false))
		return task.Operation(h.ID, job), err
	})
	return op, account.OfOwner(err, r.GetAccount())
}
