package host

import (
	"context"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/account"
	"slipway.dev/services/vm/internal/task"
)

// Move gives hosts of an account to another one, with their tasks and with what they count for, and emits an event
// for each; ip books their addresses by it. No limit of the new account stands in the way. Hosts of other accounts
// among the ids stay, and moving again changes nothing. It returns the hosts that it moved.
func Move(ctx context.Context, tx *unit.Tx, ids []int32, from, to int32) ([]Host, error) {
	return move(ctx, tx, ids, from, to, account.Transfer)
}

// Give moves a locked host to another account as Move does, unless a limit of that account is in the way.
func Give(ctx context.Context, tx *unit.Tx, h *Host, to int32) error {
	_, err := move(ctx, tx, []int32{h.ID}, h.AccountID, to, account.Give)
	return err
}

// move is Move with the way in which the share of the hosts changes its account.
func move(ctx context.Context, tx *unit.Tx, ids []int32, from, to int32,
	transfer func(ctx context.Context, tx *unit.Tx, from, to int32, share account.Usage) error,
) ([]Host, error) {
	ids, err := lockOwned(ctx, tx, from, ids)
	if err != nil || len(ids) == 0 || from == to {
		return nil, err
	}
	share, err := usageOf(ctx, tx, ids)
	if err != nil {
		return nil, err
	}
	if err := transfer(ctx, tx, from, to, share); err != nil {
		return nil, err
	}
	rows, err := tx.Query(ctx, `UPDATE host SET account_id = $2 WHERE id = ANY($1) RETURNING `+hostColumns, ids, to)
	if err != nil {
		return nil, err
	}
	moved, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Host, error) {
		r, err := pgx.RowToStructByName[hostRow](row)
		return Host(r), err
	})
	if err != nil {
		return nil, err
	}
	keys := make([]string, len(ids))
	for i, id := range ids {
		keys[i] = task.HostKey(id)
	}
	if err := tx.Reassign(ctx, from, to, keys); err != nil {
		return nil, err
	}
	return moved, tx.Together(ctx, func() error {
		for i := range moved {
			if err := Emit(ctx, tx, &moved[i], "moved"); err != nil {
				return err
			}
		}
		return nil
	})
}

// lockOwned locks the hosts of an account, in one order, and returns their ids: those among ids, or all if ids is nil.
func lockOwned(ctx context.Context, tx *unit.Tx, owner int32, ids []int32) ([]int32, error) {
	rows, err := tx.Query(ctx, `
		SELECT id FROM host WHERE account_id = $1 AND ($2::integer[] IS NULL OR id = ANY($2)) ORDER BY id FOR UPDATE`, owner, ids)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[int32])
}
