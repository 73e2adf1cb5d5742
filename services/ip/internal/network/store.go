package network

import (
	"context"
	"errors"
	"net/netip"
	"strconv"

	"github.com/jackc/pgx/v5"

	ippb "slipway.dev/proto/ip/v3"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/ip/internal/inet"
)

func one(rows pgx.Rows, id int32) (Network, error) {
	n, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByNameLax[Network])
	if errors.Is(err, pgx.ErrNoRows) {
		return n, missing(id)
	}
	return n, err
}

func missing(id int32) error { return fault.NotFound.With("no network %d", id) }

// create inserts n. It locks the table, because no constraint can express that a container is never inside an active
// network.
func create(ctx context.Context, tx *unit.Tx, n Network) (id int32, err error) {
	if err := lockAll(ctx, tx); err != nil {
		return 0, err
	}
	var other string
	err = tx.QueryRow(ctx, `
		SELECT cidr::text FROM network
		WHERE cidr = $1 OR cidr && $1 AND (type = 'active' AND $2 = 'active' OR
			type = 'active' AND cidr >> $1 OR $2 = 'active' AND cidr << $1)
		ORDER BY cidr LIMIT 1`, n.CIDR, n.Type).Scan(&other)
	if err == nil {
		return 0, fault.Conflict.With("%s overlaps the network %s", n.CIDR, other).On("name")
	}
	if !errors.Is(err, pgx.ErrNoRows) {
		return 0, err
	}
	err = tx.QueryRow(ctx, `
		INSERT INTO network (cidr, type, gateway, dns_servers, vlan, note) VALUES ($1, $2, $3, $4, $5, $6)
		RETURNING id`, n.CIDR, n.Type, nullable(n.Gateway), n.DNS, n.VLAN, n.Note).Scan(&id)
	if pg.IsExclusion(err, "network_overlap") || pg.IsUnique(err, "network_cidr") {
		return 0, fault.Conflict.With("%s overlaps a network that exists", n.CIDR).On("name")
	}
	return id, err
}

// lockAll lets other units of work read networks, but not make or change them.
func lockAll(ctx context.Context, tx *unit.Tx) error {
	_, err := tx.Exec(ctx, `LOCK TABLE network IN SHARE ROW EXCLUSIVE MODE`)
	return err
}

func nullable(a netip.Addr) any {
	if !a.IsValid() {
		return nil
	}
	return a
}

// LockGateways makes units of work that change which addresses are gateways, or make addresses of ranges, wait for each
// other. It is the first lock of its unit of work.
func LockGateways(ctx context.Context, tx *unit.Tx) error { return tx.Lock(ctx, "gateways") }

// Gateways returns the gateways of all networks that lie in a range of addresses. One may lie outside its own network.
func Gateways(ctx context.Context, tx *unit.Tx, r inet.Range) ([]netip.Addr, error) {
	rows, err := tx.Query(ctx, `SELECT DISTINCT gateway FROM network WHERE gateway BETWEEN $1 AND $2 ORDER BY 1`, r.First, r.Last)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[netip.Addr])
}

// isGatewayOfOther reports whether a network besides the one with the id has this gateway.
func isGatewayOfOther(ctx context.Context, tx *unit.Tx, id int32, gateway netip.Addr) (yes bool, err error) {
	err = tx.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM network WHERE gateway = $2 AND id <> $1)`, id, nullable(gateway)).Scan(&yes)
	return yes, err
}

// checkEmpty refuses to make a container active while networks are inside it.
func checkEmpty(ctx context.Context, tx *unit.Tx, n Network) error {
	if err := lockAll(ctx, tx); err != nil {
		return err
	}
	var inside int
	err := tx.QueryRow(ctx, `SELECT count(*) FROM network WHERE cidr << $1`, n.CIDR).Scan(&inside)
	if err == nil && inside > 0 {
		return errInUse.With("%d networks are inside %s", inside, n.CIDR).On("type")
	}
	return err
}

// lock loads and locks a network, so that the gateway does not change during the unit of work.
func lock(ctx context.Context, tx *unit.Tx, id int32) (Network, error) {
	rows, err := tx.Query(ctx, `SELECT `+columns+` FROM network n WHERE n.id = $1 FOR NO KEY UPDATE`, id)
	if err != nil {
		return Network{}, err
	}
	return one(rows, id)
}

// LockAround loads and locks the active network that contains a. ok is false when no active network does.
func LockAround(ctx context.Context, tx *unit.Tx, a netip.Addr) (n Network, ok bool, err error) {
	rows, err := tx.Query(ctx, `
		SELECT `+columns+` FROM network n
		WHERE n.cidr >>= $1::inet AND n.type = 'active' FOR NO KEY UPDATE`, a)
	if err != nil {
		return Network{}, false, err
	}
	n, err = pgx.CollectExactlyOneRow(rows, pgx.RowToStructByNameLax[Network])
	if errors.Is(err, pgx.ErrNoRows) {
		return Network{}, false, nil
	}
	return n, err == nil, err
}

// Bounds returns the first and the last address of a network.
func Bounds(ctx context.Context, db *unit.DB, id int32) (first, last netip.Addr, err error) {
	err = db.QueryRow(ctx, `
		SELECT host(cidr)::inet, host(broadcast(cidr))::inet FROM network WHERE id = $1`, id).Scan(&first, &last)
	if errors.Is(err, pgx.ErrNoRows) {
		return first, last, missing(id)
	}
	return first, last, err
}

// save stores a changed network and emits the change.
func save(ctx context.Context, tx *unit.Tx, n Network) error {
	_, err := tx.Exec(ctx, `
		UPDATE network SET type = $2, gateway = $3, dns_servers = $4, vlan = $5, note = $6 WHERE id = $1`,
		n.ID, n.Type, nullable(n.Gateway), n.DNS, n.VLAN, n.Note)
	if err != nil || n.Type != active {
		return err
	}
	m := &ippb.NetworkChanged{Id: n.ID, Gateway: inet.Text(n.Gateway)}
	for _, a := range n.DNS {
		m.DnsServers = append(m.DnsServers, a.String())
	}
	return tx.Emit(ctx, "ip.v3.network.changed", "network/"+strconv.Itoa(int(n.ID)), m)
}

// remove deletes a network that has no ranges.
func remove(ctx context.Context, tx *unit.Tx, id int32) error {
	tag, err := tx.Exec(ctx, `DELETE FROM network WHERE id = $1`, id)
	switch {
	case pg.IsForeignKey(err, "pool_range_network"):
		return errInUse.With("network %d has ranges", id)
	case err == nil && tag.RowsAffected() == 0:
		return missing(id)
	}
	return err
}
