package host

import (
	"context"

	oppb "slipway.dev/proto/op/v1"

	"slipway.dev/pkg/crash"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/listing"
	"slipway.dev/services/vm/internal/task"
)

// Operate records what change makes of a locked host of the caller's, with the job that carries it out, and keeps the answer for a
// repeat of the request. A host that is being deleted is refused. kept is the crash point where that is kept and not yet answered.
func Operate(ctx context.Context, db *unit.DB, id int32, kept crash.Point,
	change func(*unit.Tx, *Host) (*oppb.Operation, error),
) (op *oppb.Operation, err error) {
	err = db.InTx(ctx, func(tx *unit.Tx) error {
		h, err := Lock(ctx, tx, id, listing.Owner(ctx))
		if err != nil {
			return err
		}
		if h.State == Deleting {
			return ErrDeleting.With("host %d is being deleted", h.ID)
		}
		if op, err = change(tx, h); err != nil {
			return err
		}
		return tx.Answer(ctx, op)
	})
	if err != nil {
		return nil, err
	}
	kept.Hit()
	return op, nil
}

// Enqueue adds a job of a locked host for the request under way, unless too many wait.
func Enqueue(ctx context.Context, tx *unit.Tx, h *Host, kind string, args any) (*oppb.Operation, error) {
	if err := task.Admit(ctx, tx, h.ID); err != nil {
		return nil, err
	}
	job, err := task.Enqueue(ctx, tx, kind, task.HostKey(h.ID), h.AccountID, h.NodeID, args)
	if err != nil {
		return nil, err
	}
	return task.Operation(h.ID, job), nil
}

// Record records, under the lock of the host, what a job has made of it, and says that the host is another one now. It returns NotFound
// if the host is gone.
func Record(ctx context.Context, tx *unit.Tx, id int32, record func(*unit.Tx, *Host) error) error {
	h, err := Lock(ctx, tx, id, 0)
	if err != nil {
		return err
	}
	if err := record(tx, h); err != nil || h.State == Deleting {
		return err
	}
	return Emit(ctx, tx, h, "updated")
}
