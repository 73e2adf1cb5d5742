package watch

import (
	"context"
	"net/netip"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/unit"
)

// Holding is an address that a machine has.
type Holding struct {
	Machine uuid.UUID
	Address netip.Addr
}

// unknown returns the holdings of which vm does not know: those of machines that are no hosts, and those that a host is
// not recorded to have. A machine whose host was deleted is a leftover, and its addresses were given back.
func unknown(ctx context.Context, db *unit.DB, list []Holding) ([]Holding, error) {
	machines, addresses := make([]uuid.UUID, len(list)), make([]netip.Addr, len(list))
	for i, h := range list {
		machines[i], addresses[i] = h.Machine, h.Address
	}
	rows, err := db.Query(ctx, `
		SELECT x.machine, x.address FROM unnest($1::uuid[], $2::inet[]) AS x (machine, address)
		WHERE NOT EXISTS (SELECT FROM tombstone t WHERE t.uuid = x.machine)
		  AND NOT EXISTS (
			SELECT FROM host h JOIN host_address a ON a.host_id = h.id WHERE h.uuid = x.machine AND a.addr = x.address)`,
		machines, addresses)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Holding])
}
