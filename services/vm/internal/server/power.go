package server

import (
	"context"

	"google.golang.org/protobuf/proto"

	oppb "slipway.dev/proto/op/v1"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/crash"
	"slipway.dev/pkg/jobs"
	"slipway.dev/services/vm/internal/domain"
	"slipway.dev/services/vm/internal/store"
	"slipway.dev/services/vm/internal/work"
)

// Where a wish is kept and not yet answered.
var (
	pointPower  = crash.At("vm.power.committed")
	pointDelete = crash.At("vm.delete.committed")
)

// StartHost accepts a wish that a host runs. Operations of one host wait for each other.
func (s *Server) StartHost(ctx context.Context, r *vmpb.StartHostRequest) (*oppb.Operation, error) {
	return accept(ctx, s, r.GetId(), work.HostStart, false, (*domain.Host).Start, operation)
}

// StopHost accepts a wish that a host does not run.
func (s *Server) StopHost(ctx context.Context, r *vmpb.StopHostRequest) (*oppb.Operation, error) {
	return accept(ctx, s, r.GetId(), work.HostStop, r.GetForce(), (*domain.Host).Stop, operation)
}

// RestartHost accepts a wish that a host stops and runs again.
func (s *Server) RestartHost(ctx context.Context, r *vmpb.RestartHostRequest) (*vmpb.RestartHostResponse, error) {
	return accept(ctx, s, r.GetId(), work.HostRestart, r.GetForce(), (*domain.Host).Restart,
		func(id int32, j jobs.Job) *vmpb.RestartHostResponse {
			return &vmpb.RestartHostResponse{Id: id, Task: j.ID, StartTask: j.ID}
		})
}

// accept records a wish and the job that fulfils it.
func accept[A proto.Message](ctx context.Context, s *Server, id int32, kind string, force bool,
	wish func(*domain.Host) error, answer func(int32, jobs.Job) A,
) (resp A, err error) {
	err = s.store.InTx(ctx, func(tx store.Tx) error {
		h, err := tx.Host(ctx, id, owner(ctx))
		if err != nil {
			return err
		}
		if err := wish(h); err != nil {
			return err
		}
		if err := tx.SaveHost(ctx, h); err != nil {
			return err
		}
		job, err := enqueue(ctx, tx, kind, store.HostKey(id), h.AccountID, args(h, force))
		if err != nil {
			return err
		}
		resp = answer(id, job)
		return tx.Answer(ctx, resp)
	})
	if err != nil {
		return *new(A), err
	}
	pointPower.Hit()
	return resp, nil
}

// DeleteHost accepts a wish that a host is gone. What was being done to it is cancelled.
func (s *Server) DeleteHost(ctx context.Context, r *vmpb.DeleteHostRequest) (*oppb.Operation, error) {
	var job jobs.Job
	err := s.store.InTx(ctx, func(tx store.Tx) error {
		h, err := tx.Host(ctx, r.GetId(), owner(ctx))
		if err != nil {
			return err
		}
		if err := h.Delete(); err != nil {
			return err
		}
		if err := tx.Cancel(ctx, store.HostKey(h.ID)); err != nil {
			return err
		}
		if err := tx.SaveHost(ctx, h); err != nil {
			return err
		}
		job, err = enqueue(ctx, tx, work.HostDelete, store.HostKey(h.ID), h.AccountID, args(h, false))
		return err
	})
	if err != nil {
		return nil, err
	}
	pointDelete.Hit()
	return operation(r.GetId(), job), nil
}

// UpdateHost changes name and comment. Nothing on the node depends on them, so there is no task.
func (s *Server) UpdateHost(ctx context.Context, r *vmpb.UpdateHostRequest) (*vmpb.UpdateHostResponse, error) {
	if r.Name != nil {
		if err := domain.CheckName(r.GetName()); err != nil {
			return nil, err
		}
	}
	if err := domain.CheckComment(r.GetComment()); err != nil {
		return nil, err
	}
	err := s.store.InTx(ctx, func(tx store.Tx) error {
		h, err := tx.Host(ctx, r.GetId(), owner(ctx))
		if err != nil {
			return err
		}
		if h.State == domain.Deleting {
			return domain.ErrDeleting
		}
		before := map[string]any{"name": h.Name, "comment": h.Comment}
		if r.Name != nil {
			h.Name = r.GetName()
		}
		if r.Comment != nil {
			h.Comment = r.GetComment()
		}
		if err := tx.SaveHost(ctx, h); err != nil {
			return err
		}
		audit.Of(ctx).Change(before, map[string]any{"name": h.Name, "comment": h.Comment})
		return work.Tell(ctx, tx, h, "updated")
	})
	if err != nil {
		return nil, err
	}
	return &vmpb.UpdateHostResponse{Id: r.GetId()}, nil
}
