package console

import (
	"context"

	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/unit"
)

// keep stores a ticket, and removes some that are too old.
func keep(ctx context.Context, tx *unit.Tx, hash []byte, t ticket) error {
	_, err := tx.Exec(ctx, `
		WITH old AS (
			DELETE FROM console_ticket WHERE hash IN (
				SELECT hash FROM console_ticket WHERE until < now() ORDER BY until LIMIT 100 FOR UPDATE SKIP LOCKED))
		INSERT INTO console_ticket (hash, host_id, account_id, session_id, kind, until)
		VALUES ($1, $2, $3, $4, $5, now() + $6::interval)`,
		hash, t.HostID, t.AccountID, t.SessionID, t.Kind, ticketFor)
	return err
}

// redeem uses a ticket up, whoever comes with it.
func redeem(ctx context.Context, db *unit.DB, hash []byte) (t ticket, err error) {
	err = db.InTx(ctx, func(tx *unit.Tx) error {
		rows, err := tx.Query(ctx, `
			DELETE FROM console_ticket WHERE hash = $1
			RETURNING host_id, account_id, session_id, kind, until > now() AS fresh`, hash)
		t, err = pg.One[ticket](rows, err, errTicket)
		return err
	})
	return t, err
}
