package store

import (
	"context"
	"errors"
	"net/netip"
	"strconv"

	"github.com/jackc/pgx/v5"

	ippb "slipway.dev/proto/ip/v3"
	querypb "slipway.dev/proto/query/v1"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/query"
	"slipway.dev/services/ip/internal/domain"
)

var networks = query.List{
	From: "network n",
	Columns: networkOwn + `, ` + parentColumn + ` AS parent, (
		SELECT count(*) FROM network x JOIN pool_range r ON r.network_id = x.id JOIN address a ON a.range_id = r.id
		WHERE x.cidr <<= n.cidr AND a.state IN ('reserved', 'assigned', 'quarantined')) AS used`,
	LastNotify: lastChange,
	Fields: map[string]query.Field{
		"id":      {SQL: "n.id", Type: query.Int},
		"name":    {SQL: "n.cidr::text", Type: query.Text},
		"gateway": {SQL: "n.gateway", Type: query.IP, Null: true},
		"note":    {SQL: "n.note", Type: query.Text},
		"family":  {SQL: "family(n.cidr)", Type: query.Int},
		"type":    {SQL: "n.type", Type: query.Text},
		"vlan":    {SQL: "n.vlan", Type: query.Int, Null: true},
		"parent":  {SQL: parentColumn, Type: query.Int, Null: true},
	},
}

const (
	parentColumn = `(SELECT p.id FROM network p WHERE p.cidr >> n.cidr ORDER BY masklen(p.cidr) DESC LIMIT 1)`
	networkOwn   = `n.id, n.cidr, n.type, n.gateway, n.dns_servers AS dns, n.vlan, n.note`
)

// Networks lists networks.
func (s *Store) Networks(ctx context.Context, q *querypb.Query) (query.Rows[domain.Network], error) {
	return query.Read[domain.Network](ctx, s.lists, networks, q, query.Scope{})
}

// Network reads one network.
func (s *Store) Network(ctx context.Context, id int32) (domain.Network, error) {
	rows, err := s.pool.Query(ctx, networks.Row(`n.id = $1`), id)
	if err != nil {
		return domain.Network{}, err
	}
	return oneNetwork(rows, id)
}

func oneNetwork(rows pgx.Rows, id int32) (domain.Network, error) {
	n, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByNameLax[domain.Network])
	if errors.Is(err, pgx.ErrNoRows) {
		return n, noNetwork(id)
	}
	return n, err
}

func noNetwork(id int32) error { return fault.NotFound.With("no network %d", id) }

// CreateNetwork inserts n. Active networks never overlap, not even when two are made at the same time; a container is
// never inside an active one, which no constraint can say, so networks are made one after the other.
func (t Tx) CreateNetwork(ctx context.Context, n domain.Network) (id int32, err error) {
	if err := t.lockNetworks(ctx); err != nil {
		return 0, err
	}
	var other string
	err = t.QueryRow(ctx, `
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
	err = t.QueryRow(ctx, `
		INSERT INTO network (cidr, type, gateway, dns_servers, vlan, note) VALUES ($1, $2, $3, $4, $5, $6)
		RETURNING id`, n.CIDR, n.Type, nullable(n.Gateway), n.DNS, n.VLAN, n.Note).Scan(&id)
	if pg.IsExclusion(err, "network_overlap") || pg.IsUnique(err, "network_cidr") {
		return 0, fault.Conflict.With("%s overlaps a network that exists", n.CIDR).On("name")
	}
	return id, err
}

// lockNetworks keeps others from making networks; they may go on reading them.
func (t Tx) lockNetworks(ctx context.Context) error {
	_, err := t.Exec(ctx, `LOCK TABLE network IN SHARE ROW EXCLUSIVE MODE`)
	return err
}

func nullable(a netip.Addr) any {
	if !a.IsValid() {
		return nil
	}
	return a
}

// Activate makes sure that a container can become active: nothing is inside it.
func (t Tx) Activate(ctx context.Context, n domain.Network) error {
	if err := t.lockNetworks(ctx); err != nil {
		return err
	}
	var inside int
	err := t.QueryRow(ctx, `SELECT count(*) FROM network WHERE cidr << $1`, n.CIDR).Scan(&inside)
	if err == nil && inside > 0 {
		return domain.ErrInUse.With("%d networks are inside %s", inside, n.CIDR).On("type")
	}
	return err
}

// Network loads and locks a network: its gateway stays what it is for this unit of work.
func (t Tx) Network(ctx context.Context, id int32) (domain.Network, error) {
	rows, err := t.Query(ctx, `SELECT `+networkOwn+` FROM network n WHERE n.id = $1 FOR NO KEY UPDATE`, id)
	if err != nil {
		return domain.Network{}, err
	}
	return oneNetwork(rows, id)
}

// SaveNetwork stores what changed. A new gateway must not be in use; the old one becomes an address like the others.
func (t Tx) SaveNetwork(ctx context.Context, old, n domain.Network) error {
	if old.Gateway != n.Gateway && old.Gateway.IsValid() {
		if err := t.makeGateway(ctx, n.Gateway); err != nil {
			return err
		}
		if err := t.makeOrdinary(ctx, old.Gateway); err != nil {
			return err
		}
	}
	_, err := t.Exec(ctx, `
		UPDATE network SET type = $2, gateway = $3, dns_servers = $4, vlan = $5, note = $6 WHERE id = $1`,
		n.ID, n.Type, nullable(n.Gateway), n.DNS, n.VLAN, n.Note)
	if err != nil || n.Type != domain.Active {
		return err
	}
	m := &ippb.NetworkChanged{Id: n.ID, Gateway: n.Gateway.String()}
	for _, a := range n.DNS {
		m.DnsServers = append(m.DnsServers, a.String())
	}
	return t.Emit(ctx, "ip.v3.network.changed", "network/"+strconv.Itoa(int(n.ID)), m)
}

// makeGateway takes a gateway out of the addresses that are given to owners, when it is in a range at all. It locks the
// range, as a claim of an IPv6 address does.
func (t Tx) makeGateway(ctx context.Context, gateway netip.Addr) error {
	var rangeID int32
	err := t.QueryRow(ctx, `
		SELECT id FROM pool_range WHERE inetrange(first, last, '[]') @> $1::inet FOR NO KEY UPDATE`, gateway).Scan(&rangeID)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	tag, err := t.Exec(ctx, `
		INSERT INTO address AS a (ip, range_id, pool_id, state)
		SELECT $1, id, pool_id, 'gateway' FROM pool_range WHERE id = $2
		ON CONFLICT (ip) DO UPDATE SET state = 'gateway' WHERE a.state = 'free'`, gateway, rangeID)
	if err == nil && tag.RowsAffected() == 0 {
		return domain.ErrInUse.With("%s is in use", gateway).On("gateway")
	}
	return err
}

func (t Tx) makeOrdinary(ctx context.Context, gateway netip.Addr) error {
	sql := `UPDATE address SET state = 'free' WHERE ip = $1 AND state IN ('gateway', 'special')`
	if gateway.Is6() {
		sql = `DELETE FROM address WHERE ip = $1 AND state IN ('gateway', 'special')`
	}
	_, err := t.Exec(ctx, sql, gateway)
	return err
}

// DeleteNetwork removes a network without ranges.
func (t Tx) DeleteNetwork(ctx context.Context, id int32) error {
	tag, err := t.Exec(ctx, `DELETE FROM network WHERE id = $1`, id)
	switch {
	case pg.IsForeignKey(err, "pool_range_network"):
		return domain.ErrInUse.With("network %d has ranges", id)
	case err == nil && tag.RowsAffected() == 0:
		return noNetwork(id)
	}
	return err
}
