package store

import (
	"context"
	"errors"
	"net/netip"

	"github.com/jackc/pgx/v5"

	querypb "slipway.dev/proto/query/v1"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/query"
	"slipway.dev/services/ip/internal/domain"
)

var networks = query.List{
	From: "network n",
	Columns: `n.id, n.cidr, n.gateway, n.note, (
		SELECT count(*) FROM address a JOIN pool_range r ON r.id = a.range_id
		WHERE r.network_id = n.id AND a.state NOT IN ('free', 'special')) AS used`,
	LastNotify: lastChange,
	Fields: map[string]query.Field{
		"id":      {SQL: "n.id", Type: query.Int},
		"name":    {SQL: "n.cidr::text", Type: query.Text},
		"gateway": {SQL: "n.gateway", Type: query.IP},
		"note":    {SQL: "n.note", Type: query.Text},
		"family":  {SQL: "family(n.cidr)", Type: query.Int},
	},
}

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
		return n, fault.NotFound.With("no network %d", id)
	}
	return n, err
}

// CreateNetwork inserts n. Networks never overlap, not even when two are made at the same time.
func (t Tx) CreateNetwork(ctx context.Context, n domain.Network) (id int32, err error) {
	err = t.tx.QueryRow(ctx, `
		INSERT INTO network (cidr, gateway, note) VALUES ($1, $2, $3)
		RETURNING id`, n.CIDR, n.Gateway, n.Note).Scan(&id)
	if pg.IsExclusion(err, "network_overlap") {
		return 0, fault.Conflict.With("%s overlaps a network that exists", n.CIDR).On("name")
	}
	return id, err
}

// Network loads and locks a network: its gateway stays what it is for this unit of work.
func (t Tx) Network(ctx context.Context, id int32) (domain.Network, error) {
	rows, err := t.tx.Query(ctx, `SELECT id, cidr, gateway, note FROM network WHERE id = $1 FOR NO KEY UPDATE`, id)
	if err != nil {
		return domain.Network{}, err
	}
	return oneNetwork(rows, id)
}

// SaveNetwork stores note and gateway. A new gateway must not be in use; the old one becomes an address like the others.
func (t Tx) SaveNetwork(ctx context.Context, old, n domain.Network) error {
	if old.Gateway != n.Gateway {
		if err := t.makeSpecial(ctx, n.Gateway); err != nil {
			return err
		}
		if err := t.makeOrdinary(ctx, old.Gateway); err != nil {
			return err
		}
	}
	_, err := t.tx.Exec(ctx, `UPDATE network SET gateway = $2, note = $3 WHERE id = $1`, n.ID, n.Gateway, n.Note)
	return err
}

// makeSpecial takes a gateway out of the addresses that are given to owners, when it is in a range at all. It locks the
// range, as a claim of an IPv6 address does.
func (t Tx) makeSpecial(ctx context.Context, gateway netip.Addr) error {
	var rangeID int32
	err := t.tx.QueryRow(ctx, `
		SELECT id FROM pool_range WHERE inetrange(first, last, '[]') @> $1::inet FOR NO KEY UPDATE`, gateway).Scan(&rangeID)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	tag, err := t.tx.Exec(ctx, `
		INSERT INTO address AS a (ip, range_id, pool_id, state)
		SELECT $1, id, pool_id, 'special' FROM pool_range WHERE id = $2
		ON CONFLICT (ip) DO UPDATE SET state = 'special' WHERE a.state = 'free'`, gateway, rangeID)
	if err == nil && tag.RowsAffected() == 0 {
		return domain.ErrInUse.With("gateway: %s is in use", gateway).On("gateway")
	}
	return err
}

func (t Tx) makeOrdinary(ctx context.Context, gateway netip.Addr) error {
	sql := `UPDATE address SET state = 'free' WHERE ip = $1 AND state = 'special'`
	if gateway.Is6() {
		sql = `DELETE FROM address WHERE ip = $1 AND state = 'special'`
	}
	_, err := t.tx.Exec(ctx, sql, gateway)
	return err
}

// DeleteNetwork removes a network without ranges.
func (t Tx) DeleteNetwork(ctx context.Context, id int32) error {
	tag, err := t.tx.Exec(ctx, `DELETE FROM network WHERE id = $1`, id)
	switch {
	case pg.IsForeignKey(err, "pool_range_network"):
		return domain.ErrInUse.With("network %d has ranges", id)
	case err == nil && tag.RowsAffected() == 0:
		return fault.NotFound.With("no network %d", id)
	}
	return err
}
