package address

import (
	"context"
	"net/netip"

	"slipway.dev/pkg/unit"
)

// seenAddress is an address that a machine has.
type seenAddress struct {
	IP      netip.Addr
	Machine string
}

// seenNote is the note of an address that is held because a machine has it.
const seenNote = `'held: the machine ' || seen.machine || ' has it, and no host'`

// holdSeen reserves the addresses that machines have and no owner has, without an owner, and returns how many. A
// reservation for the machine itself, which would expire, is held too. An administrator frees them.
func holdSeen(ctx context.Context, tx *unit.Tx, list []seenAddress) (n int, err error) {
	ips, machines := make([]netip.Addr, len(list)), make([]string, len(list))
	for i, a := range list {
		ips[i], machines[i] = a.IP, a.Machine
	}
	err = tx.QueryRow(ctx, `
		WITH seen AS MATERIALIZED (
			SELECT DISTINCT ON (ip) ip, machine FROM unnest($1::inet[], $2::text[]) AS x (ip, machine) ORDER BY ip, machine
		), old AS (
			UPDATE address a SET `+clearOwner+`, state = 'reserved', until = NULL, note = `+seenNote+`
			FROM seen WHERE a.ip = seen.ip
			  AND (a.state IN ('free', 'quarantined') OR a.state = 'reserved' AND a.owner::text = seen.machine)
			RETURNING a.id
		), new AS (
			INSERT INTO address (ip, range_id, pool_id, state, note)
			SELECT seen.ip, r.id, r.pool_id, 'reserved', `+seenNote+`
			FROM seen JOIN pool_range r ON seen.ip BETWEEN r.first AND r.last
			WHERE family(seen.ip) = 6 AND NOT EXISTS (SELECT FROM address a WHERE a.ip = seen.ip)
			ON CONFLICT (ip) DO NOTHING
			RETURNING id
		)
		SELECT (SELECT count(*) FROM old) + (SELECT count(*) FROM new)`, ips, machines).Scan(&n)
	return n, err
}
