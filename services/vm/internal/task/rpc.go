package task

import (
	"context"
	"fmt"

	oppb "slipway.dev/proto/op/v1"
	querypb "slipway.dev/proto/query/v1"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/jobs"
	"slipway.dev/pkg/stamp"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/listing"
)

// Server answers vm.v3.TaskService.
type Server struct {
	vmpb.UnimplementedTaskServiceServer
	db     *unit.DB
	limits *Limits
}

// NewServer returns a Server, which puts the limits that it sets into limits at once.
func NewServer(db *unit.DB, limits *Limits) *Server { return &Server{db: db, limits: limits} }

// ListTasks lists tasks.
func (s *Server) ListTasks(ctx context.Context, r *vmpb.ListTasksRequest) (*vmpb.ListTasksResponse, error) {
	l, err := page(ctx, s.db, r.GetQuery(), listing.Owner(ctx))
	if err != nil {
		return nil, err
	}
	return &vmpb.ListTasksResponse{LastNotify: l.LastNotify, Size: l.Size, List: listing.Render(l.Rows, render)}, nil
}

// GetTask reads one task with its steps. The answer holds the task both flat and nested, for clients of both kinds.
func (s *Server) GetTask(ctx context.Context, r *vmpb.GetTaskRequest) (*vmpb.GetTaskResponse, error) {
	t, err := find(ctx, s.db, r.GetId(), listing.Owner(ctx))
	if err != nil {
		return nil, err
	}
	steps, err := jobs.Steps(ctx, s.db.Pool, t.ID)
	if err != nil {
		return nil, err
	}
	p := render(&t)
	resp := &vmpb.GetTaskResponse{
		Task: p, Id: p.GetId(), ConsulId: p.GetConsulId(), Name: p.GetName(), Status: p.GetStatus(),
		RunningTime: p.GetRunningTime(), WaitingTime: p.GetWaitingTime(), Output: p.GetOutput(),
	}
	for _, st := range steps {
		resp.Steps = append(resp.Steps, &vmpb.TaskStep{Name: st.Name, State: string(st.State)})
	}
	return resp, nil
}

// AbortTask asks a task to end.
func (s *Server) AbortTask(ctx context.Context, r *vmpb.AbortTaskRequest) (*oppb.Operation, error) {
	t, err := find(ctx, s.db, r.GetId(), listing.Owner(ctx))
	if err != nil {
		return nil, err
	}
	if err := checkAbort(&t); err != nil {
		return nil, err
	}
	err = s.db.InTx(ctx, func(tx *unit.Tx) error {
		stopped, err := tx.StopJob(ctx, t.ID)
		if err == nil && !stopped {
			return errOver.With("task %d is over, or ends already", t.ID)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return &oppb.Operation{Id: r.GetId(), Task: r.GetId()}, nil
}

func render(t *item) *vmpb.Task {
	return &vmpb.Task{
		Id: t.ID, ConsulId: t.ID, Name: t.Name, Status: t.Status, RunningTime: t.Running, WaitingTime: t.Waiting,
		Output: t.Output, Progress: fmt.Sprintf("%d steps done", t.Done), Host: t.Host, Account: t.Account,
		DateCreate: stamp.Text(t.CreatedAt),
	}
}

// History returns the operations on a host. The caller has checked that the host may be seen.
func History(ctx context.Context, db *unit.DB, q *querypb.Query, host int32) (*vmpb.ListHostHistoryResponse, error) {
	tasks, err := history(ctx, db, q, host)
	if err != nil {
		return nil, err
	}
	resp := &vmpb.ListHostHistoryResponse{Size: tasks.Size}
	for _, t := range tasks.Rows {
		resp.MaxId = max(resp.MaxId, t.ID)
		resp.List = append(resp.List, &vmpb.HistoryItem{
			Id: t.ID, Name: t.Name, State: t.Status, Task: t.ID, DateCreate: stamp.Text(t.CreatedAt),
		})
	}
	return resp, nil
}
