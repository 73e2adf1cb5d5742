package address

import (
	"context"
	"net/netip"

	"slipway.dev/pkg/unit"
	"slipway.dev/services/ip/internal/inet"
	"slipway.dev/services/ip/internal/pool"
)

// AddRange makes the rows of a new range: all addresses of an IPv4 range, and only the gateways of an IPv6 range.
func AddRange(ctx context.Context, tx *unit.Tx, id int32, r inet.Range, gateways []netip.Addr) error {
	if r.First.Is4() {
		_, err := tx.Exec(ctx, rowsOfRange, id, append([]netip.Addr{}, gateways...))
		return err
	}
	for _, a := range gateways {
		if err := makeGateway(ctx, tx, a); err != nil {
			return err
		}
	}
	return nil
}

// RemoveRange deletes the rows of a locked range, except those that have an owner, and returns how many of these there
// are.
func RemoveRange(ctx context.Context, tx *unit.Tx, id int32) (owned int, err error) {
	// The statement waits for claims under way; what they take is there for the next statement.
	if _, err := tx.Exec(ctx, `DELETE FROM address WHERE range_id = $1 AND owner IS NULL`, id); err != nil {
		return 0, err
	}
	err = tx.QueryRow(ctx, `SELECT count(*) FROM address WHERE range_id = $1`, id).Scan(&owned)
	return owned, err
}

// MoveGateway makes the address to a gateway and the address from an ordinary address again; either may be the zero
// Addr. It refuses an address that is in use.
func MoveGateway(ctx context.Context, tx *unit.Tx, from, to netip.Addr) error {
	if to.IsValid() {
		if err := makeGateway(ctx, tx, to); err != nil {
			return err
		}
	}
	if !from.IsValid() {
		return nil
	}
	return makeOrdinary(ctx, tx, from)
}

// makeGateway makes an address a gateway, so that no owner gets it, if it is not the gateway of another network
// already. It does nothing when the address is in no range. It locks the range, as a claim of an IPv6 address does.
func makeGateway(ctx context.Context, tx *unit.Tx, gateway netip.Addr) error {
	rangeID, poolID, ok, err := pool.LockAround(ctx, tx, gateway)
	if err != nil || !ok {
		return err
	}
	tag, err := tx.Exec(ctx, `
		INSERT INTO address AS a (ip, range_id, pool_id, state) VALUES ($1, $2, $3, 'gateway')
		ON CONFLICT (ip) DO UPDATE SET state = CASE WHEN a.state IN ('network', 'broadcast') THEN a.state ELSE 'gateway' END
		WHERE a.state IN ('free', 'gateway', 'special', 'network', 'broadcast')`, gateway, rangeID, poolID)
	if err == nil && tag.RowsAffected() == 0 {
		return errInUse.With("%s is in use", gateway).On("gateway")
	}
	return err
}

// makeOrdinary makes a gateway free. A free IPv6 address has no row.
func makeOrdinary(ctx context.Context, tx *unit.Tx, gateway netip.Addr) error {
	sql := `UPDATE address SET state = 'free' WHERE ip = $1 AND state IN ('gateway', 'special')`
	if gateway.Is6() {
		sql = `DELETE FROM address WHERE ip = $1 AND state IN ('gateway', 'special')`
	}
	_, err := tx.Exec(ctx, sql, gateway)
	return err
}
