package address

import (
	"context"
	"errors"
	"net/netip"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/ip/internal/pool"
)

func missing(id int32) error { return fault.NotFound.With("no address %d", id) }

// hold reserves an address of a pool without an owner. It gives an address that is held already the new note.
func hold(ctx context.Context, tx *unit.Tx, poolID int32, ip netip.Addr, note string) (id int32, err error) {
	r, ok, err := pool.LockWithin(ctx, tx, poolID, ip)
	if err != nil {
		return 0, err
	}
	if !ok || !r.Gives(ip) {
		return 0, fault.Invalid.With("%s is not an address of pool %d", ip, poolID).On("ip_addr")
	}
	err = tx.QueryRow(ctx, `
		INSERT INTO address AS a (ip, range_id, pool_id, state, note) VALUES ($1, $2, $3, 'reserved', $4)
		ON CONFLICT (ip) DO UPDATE SET state = 'reserved', note = excluded.note
		WHERE a.state = 'free' OR a.state = 'reserved' AND a.owner IS NULL
		RETURNING id`, ip, r.ID, poolID, note).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, errInUse.With("the address %s is in use", ip)
	}
	return id, err
}

// free frees an address that has no owner: one that is held, or in quarantine. It succeeds if the address is free
// already.
func free(ctx context.Context, tx *unit.Tx, id int32) error {
	var ip netip.Addr
	var state, owner string
	err := tx.QueryRow(ctx, `
		SELECT ip, state, coalesce(owner::text, '') FROM address WHERE id = $1 FOR UPDATE`, id).Scan(&ip, &state, &owner)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return missing(id)
	case err != nil:
		return err
	case state == stateFree:
		return nil
	case owner != "" || state != stateReserved && state != stateQuarantined:
		return errInUse.With("the address %s is in use", ip)
	}
	sql := `UPDATE address SET state = 'free', until = NULL, note = '', generation = generation + 1 WHERE id = $1`
	if ip.Is6() {
		sql = `DELETE FROM address WHERE id = $1`
	}
	_, err = tx.Exec(ctx, sql, id)
	return err
}
