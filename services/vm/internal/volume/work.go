package volume

import (
	"context"
	"errors"

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

// kind of the job, the dialect's name of the task.
const kind = "disk_resize"

// attempts last some minutes with the runner's backoff, capped at 30 s.
const attempts = 8

// args is the argument of the job.
type args struct {
	machine.Args
	Disk int32 `json:"disk"`
	Size int32 `json:"size"` // MiB
}

type worker struct{ steps *machine.Steps }

// Register registers the handler that enlarges disks. What a disk grew it does not lose: the step has no undo.
func Register(r *jobs.Runner, steps *machine.Steps) {
	w := &worker{steps}
	jobs.Handle(r, kind, jobs.Handler[args]{
		Steps: []jobs.Step[args]{{Name: "disk", Do: w.grow, Timeout: machine.StepTime}},
		Done:  w.done, Failed: w.failed, Attempts: attempts,
	})
}

// grow enlarges the disk. It may run twice, as its part may.
func (w *worker) grow(ctx context.Context, run *jobs.Run, a args) error {
	return w.steps.GrowDisk(ctx, run, a.Args, a.Disk, a.Size)
}

func (w *worker) done(ctx context.Context, tx pgx.Tx, run *jobs.Run, a args) error {
	return end(ctx, unit.In(tx), a, func(tx *unit.Tx, _ *host.Host) error { return disk.Grown(ctx, tx, a.Disk, a.Size, run.ID) })
}

// failed gives back the room that the disk did not get.
func (w *worker) failed(ctx context.Context, tx pgx.Tx, run *jobs.Run, a args, _ *fault.Fault) error {
	return end(ctx, unit.In(tx), a, func(tx *unit.Tx, h *host.Host) error {
		less, err := disk.TakeBack(ctx, tx, a.Disk, run.ID)
		if err != nil || less == 0 {
			return err
		}
		b := &pgx.Batch{}
		account.QueueRefund(b, h.AccountID, account.Usage{account.HDDMiB: int64(less)})
		node.QueueRelease(b, h.NodeID, node.Size{Disk: int64(less)})
		return tx.SendBatch(ctx, b).Close()
	})
}

// end records how the job ended. The host may be gone.
func end(ctx context.Context, tx *unit.Tx, a args, record func(*unit.Tx, *host.Host) error) error {
	h, err := host.Lock(ctx, tx, a.ID, 0)
	if err != nil {
		if errors.Is(err, fault.NotFound) {
			return nil
		}
		return err
	}
	if err := record(tx, h); err != nil || h.State == host.Deleting {
		return err
	}
	return host.Emit(ctx, tx, h, "updated")
}
