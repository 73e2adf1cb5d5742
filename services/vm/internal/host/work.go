package host

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"

	ippb "slipway.dev/proto/ip/v3"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/jobs"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/machine"
	"slipway.dev/services/vm/internal/task"
)

// Kinds of jobs, the dialect's names of the tasks.
const (
	createKind = "host_create"
	deleteKind = "host_delete"
)

// createAttempts last some minutes with the runner's backoff, capped at 30 s. A delete is never given up, because the
// host is gone only when its node says so.
const createAttempts = 12

// Tx is what jobs of hosts do in the unit of work in which they end.
type Tx interface {
	Host(ctx context.Context, id, owner int32) (*Host, error)
	SaveHost(ctx context.Context, h *Host) error
	DeleteHost(ctx context.Context, id int32) error
	BuryHost(ctx context.Context, id int32, fence int64) error
	Emitter
}

// Emitter is a unit of work that can emit events.
type Emitter interface {
	Emit(ctx context.Context, subject, key string, msg proto.Message) error
}

// Rows returns the Tx of the tables.
func Rows(tx *unit.Tx) Tx { return rows{tx} }

// worker carries out the jobs of hosts.
type worker struct {
	in    func(pgx.Tx) Tx
	steps *machine.Steps
	ip    ippb.AddressServiceClient
}

// Register registers the handlers that create and delete hosts. in returns the Tx of a job's transaction.
func Register(r *jobs.Runner, in func(pgx.Tx) Tx, steps *machine.Steps, ip ippb.AddressServiceClient) {
	w := &worker{in, steps, ip}
	jobs.Handle(r, createKind, jobs.Handler[machine.Args]{
		Steps: []jobs.Step[machine.Args]{
			{Name: "address", Do: w.confirm, Undo: w.giveBack, Timeout: machine.StepTime, Apart: true},
			{Name: "network", Do: w.network, Timeout: machine.StepTime},
			{Name: "disk", Do: steps.EnsureDisks, Undo: steps.Remove, Timeout: machine.StepTime},
			{Name: "seed", Do: steps.EnsureSeed, Timeout: machine.StepTime},
			{Name: "define", Do: steps.Define, Timeout: machine.StepTime},
			{Name: "start", Do: steps.Start, Timeout: machine.StepTime},
		},
		Done: w.created, Failed: w.createFailed, Attempts: createAttempts,
	})
	jobs.Handle(r, deleteKind, jobs.Handler[machine.Args]{
		Steps: []jobs.Step[machine.Args]{
			{Name: "machine", Do: steps.Remove, Timeout: machine.StepTime},
			{Name: "address", Do: w.release, Timeout: machine.StepTime, Apart: true},
		},
		Done: w.deleted,
	})
}

// confirm confirms the first addresses of a host, by the keys of their claims: what is reserved beside them is for another
// job to confirm, or expires. A host without addresses has nothing to confirm. It may run twice: confirming what is
// confirmed succeeds.
func (w *worker) confirm(ctx context.Context, run *jobs.Run, a machine.Args) error {
	list, err := w.steps.Addresses(ctx, run, a)
	if err != nil || len(list) == 0 {
		return err
	}
	keys := a.Keys
	if len(keys) == 0 {
		keys = []string{a.UUID} // of a job from before hosts had several claims
	}
	for _, key := range keys {
		if _, err := w.ip.Confirm(ctx, &ippb.ConfirmRequest{Owner: a.UUID, Key: key}); err != nil {
			return err
		}
	}
	return nil
}

// network gives the bridge what the host needs. An address that the node itself has is held, so that the next create
// does not get it. It may run twice, as its parts may.
func (w *worker) network(ctx context.Context, run *jobs.Run, a machine.Args) error {
	return machine.Withhold(ctx, w.ip, a, w.steps.EnsureNetwork(ctx, run, a))
}

// release gives back all addresses of a host. It may run twice: releasing what is not held succeeds.
func (w *worker) release(ctx context.Context, _ *jobs.Run, a machine.Args) error {
	_, err := w.ip.Release(ctx, &ippb.ReleaseRequest{Owner: a.UUID})
	return err
}

// giveBack releases all addresses of a host whose create failed. They need no quarantine when the machine was never
// started. It may run twice, as release may.
func (w *worker) giveBack(ctx context.Context, run *jobs.Run, a machine.Args) error {
	_, err := w.ip.Release(ctx, &ippb.ReleaseRequest{Owner: a.UUID, Unused: !run.Began("start")})
	return err
}

// created records that the host runs.
func (w *worker) created(ctx context.Context, tx pgx.Tx, _ *jobs.Run, a machine.Args) error {
	return Settle(ctx, w.in(tx), a.ID, Active, "activated")
}

// createFailed removes the host, of which nothing is left, unless a delete that waits will.
func (w *worker) createFailed(ctx context.Context, tx pgx.Tx, run *jobs.Run, a machine.Args, _ *fault.Fault) error {
	t := w.in(tx)
	h, err := t.Host(ctx, a.ID, 0)
	if errors.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil || h.State == Deleting {
		return err
	}
	return remove(ctx, t, h, run.Fence(), "failed")
}

// deleted removes the host's rows.
func (w *worker) deleted(ctx context.Context, tx pgx.Tx, run *jobs.Run, a machine.Args) error {
	t := w.in(tx)
	h, err := t.Host(ctx, a.ID, 0)
	if errors.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return remove(ctx, t, h, run.Fence(), "deleted")
}

// remove replaces the host's rows by a tombstone.
func remove(ctx context.Context, t Tx, h *Host, fence int64, verb string) error {
	if err := t.BuryHost(ctx, h.ID, fence); err != nil {
		return err
	}
	if err := t.DeleteHost(ctx, h.ID); err != nil {
		return err
	}
	return Emit(ctx, t, h, verb)
}

// Settle records the state that a job led to, unless the host is being deleted by now.
func Settle(ctx context.Context, t Tx, id int32, state State, verb string) error {
	h, err := t.Host(ctx, id, 0)
	if errors.Is(err, fault.NotFound) {
		return nil // its create failed, and this job waited behind it: the task ends all the same
	}
	if err != nil {
		return err
	}
	if h.State != Deleting {
		h.State = state
		if err := t.SaveHost(ctx, h); err != nil {
			return err
		}
	}
	return Emit(ctx, t, h, verb)
}

// Emit emits what happened to a host; verb is the last word of the event's subject.
func Emit(ctx context.Context, t Emitter, h *Host, verb string) error {
	return t.Emit(ctx, "vm.v3.host."+verb, task.HostKey(h.ID), &vmpb.HostChanged{
		Id: h.ID, Uuid: h.UUID.String(), State: string(h.State),
		AccountId: h.AccountID, ClusterId: h.ClusterID, NodeId: h.NodeID,
	})
}

// Args returns the argument of the host's jobs.
func (h *Host) Args(force bool) machine.Args {
	return machine.Args{ID: h.ID, UUID: h.UUID.String(), Force: force}
}
