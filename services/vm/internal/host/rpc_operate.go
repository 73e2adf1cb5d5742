package host

import (
	"context"

	oppb "slipway.dev/proto/op/v1"

	"slipway.dev/pkg/crash"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/listing"
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
