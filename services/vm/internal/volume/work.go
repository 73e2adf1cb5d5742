package volume

import (
	"context"
	"errors"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/jobs"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/account"
	"slipway.dev/services/vm/internal/disk"
	"slipway.dev/services/vm/internal/host"
	"slipway.dev/services/vm/internal/machine"
	"slipway.dev/services/vm/internal/node"
)

// Kinds of the jobs, the dialect's names of the tasks.
const (
	resizeKind = "disk_resize"
	createKind = "disk_create"
	deleteKind = "disk_delete"
)

// attempts last some minutes with the runner's backoff, capped at 30 s.
const attempts = 8

// args is the argument of the jobs.
type args struct {
	machine.Args
	Disk  int32  `json:"disk"`
	Size  int32  `json:"size,omitempty"`  // MiB
	Place string `json:"place,omitempty"` // of a disk without a host; else the job is one of the host
}

// Check refuses what no handler ever enqueued.
func (a args) Check() error {
	if a.Place == "" {
		return a.Args.Check()
	}
	_, err := uuid.Parse(a.Place)
	return err
}

type worker struct {
	steps *machine.Steps
	free  *freeDisks
}

// Register registers the handlers of the jobs of disks. What a disk grew it does not lose: that step has no undo. A delete is never
// given up unless the node refuses it, because the disk is gone only when its node says so.
func Register(r *jobs.Runner, db *unit.DB, dial node.Dial, steps *machine.Steps) {
	w := &worker{steps, &freeDisks{db, dial}}
	jobs.Handle(r, resizeKind, jobs.Handler[args]{
		Steps: []jobs.Step[args]{{Name: "disk", Do: w.grow, Timeout: machine.StepTime}},
		Done:  w.done, Failed: w.failed, Attempts: attempts,
	})
	jobs.Handle(r, createKind, jobs.Handler[args]{
		Steps: []jobs.Step[args]{{Name: "disk", Do: w.free.ensure, Undo: w.free.remove, Timeout: machine.StepTime}},
		Done:  released, Failed: dropped, Attempts: attempts,
	})
	jobs.Handle(r, deleteKind, jobs.Handler[args]{
		Steps: []jobs.Step[args]{{Name: "disk", Do: w.free.remove, Timeout: machine.StepTime}},
		Done: func(ctx context.Context, tx pgx.Tx, run *jobs.Run, a args) error {
			return dropped(ctx, tx, run, a, nil)
		},
		Failed: func(ctx context.Context, tx pgx.Tx, run *jobs.Run, a args, _ *fault.Fault) error {
			return released(ctx, tx, run, a)
		},
	})
}

// grow enlarges the disk. It may run twice, as its part may.
func (w *worker) grow(ctx context.Context, run *jobs.Run, a args) error {
	if a.Place != "" {
		return w.free.ensure(ctx, run, a)
	}
	return w.steps.GrowDisk(ctx, run, a.Args, a.Disk, a.Size)
}

func (w *worker) done(ctx context.Context, tx pgx.Tx, run *jobs.Run, a args) error {
	return end(ctx, unit.In(tx), run, a, func(tx *unit.Tx, _, _ int32) error { return disk.Grown(ctx, tx, a.Disk, a.Size, run.ID) })
}

// failed gives back the room that the disk did not get.
func (w *worker) failed(ctx context.Context, tx pgx.Tx, run *jobs.Run, a args, _ *fault.Fault) error {
	return end(ctx, unit.In(tx), run, a, func(tx *unit.Tx, owner, on int32) error {
		less, err := disk.TakeBack(ctx, tx, a.Disk, run.ID)
		if err != nil || less == 0 {
			return err
		}
		return refund(ctx, tx, owner, on, less)
	})
}

// refund gives back the room of a disk, or of a part of it.
func refund(ctx context.Context, tx *unit.Tx, owner, on, less int32) error {
	b := &pgx.Batch{}
	account.QueueRefund(b, owner, account.Usage{account.HDDMiB: int64(less)})
	node.QueueRelease(b, on, node.Size{Disk: int64(less)})
	return tx.SendBatch(ctx, b).Close()
}

// end records how the job of a resizing ended, under the lock of the disk or of its host, which may be gone. record gets the account
// and the node that the disk counts for.
func end(ctx context.Context, tx *unit.Tx, run *jobs.Run, a args, record func(tx *unit.Tx, owner, on int32) error) error {
	if a.Place != "" {
		d, err := disk.Lock(ctx, tx, a.Disk, 0)
		if err != nil {
			return err
		}
		if err := record(tx, d.Account, d.Node); err != nil {
			return err
		}
		return disk.Release(ctx, tx, run.ID)
	}
	err := host.Record(ctx, tx, a.ID, func(tx *unit.Tx, h *host.Host) error { return record(tx, h.AccountID, h.NodeID) })
	if errors.Is(err, fault.NotFound) {
		return nil
	}
	return err
}
