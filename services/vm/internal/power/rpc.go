package power

import (
	"context"

	"google.golang.org/protobuf/proto"

	oppb "slipway.dev/proto/op/v1"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/crash"
	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/jobs"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/host"
	"slipway.dev/services/vm/internal/listing"
	"slipway.dev/services/vm/internal/task"
)

// pointPower is where a request is kept and not yet answered.
var pointPower = crash.At("vm.power.committed")

// Server answers the part of vm.v3.HostService that starts, stops and restarts hosts.
type Server struct{ db *unit.DB }

// NewServer returns a Server.
func NewServer(db *unit.DB) *Server { return &Server{db} }

// StartHost records that a host is to run. Operations of one host wait for each other.
func (s *Server) StartHost(ctx context.Context, r *vmpb.StartHostRequest) (*oppb.Operation, error) {
	return accept(ctx, s, r, startKind, false, Start, task.Operation)
}

// StopHost records that a host is not to run.
func (s *Server) StopHost(ctx context.Context, r *vmpb.StopHostRequest) (*oppb.Operation, error) {
	return accept(ctx, s, r, stopKind, r.GetForce(), Stop, task.Operation)
}

// RestartHost records that a host is to stop and run again.
func (s *Server) RestartHost(ctx context.Context, r *vmpb.RestartHostRequest) (*vmpb.RestartHostResponse, error) {
	return accept(ctx, s, r, restartKind, r.GetForce(), Restart,
		func(id int32, j jobs.Job) *vmpb.RestartHostResponse {
			return &vmpb.RestartHostResponse{Id: id, Task: j.ID, StartTask: j.ID}
		})
}

// named is a request that names its host, in the path and perhaps in the body too.
type named interface {
	GetId() int32
	GetHostId() int32
}

// accept records a change of a host and the job that makes it.
func accept[A proto.Message](ctx context.Context, s *Server, r named, kind string, force bool,
	change func(*host.Host) error, answer func(int32, jobs.Job) A,
) (resp A, err error) {
	id := r.GetId()
	if r.GetHostId() != 0 && r.GetHostId() != id {
		return resp, fault.Invalid.With("%d, but the path names host %d", r.GetHostId(), id).On("host_id")
	}
	err = s.db.InTx(ctx, func(tx *unit.Tx) error {
		h, err := host.Lock(ctx, tx, id, listing.Owner(ctx))
		if err != nil {
			return err
		}
		if err := change(h); err != nil {
			return err
		}
		if err := task.Admit(ctx, tx, id); err != nil {
			return err
		}
		if err := host.Save(ctx, tx, h); err != nil {
			return err
		}
		job, err := task.Enqueue(ctx, tx, kind, task.HostKey(id), h.AccountID, h.NodeID, h.Args(force))
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
