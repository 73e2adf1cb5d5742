package store

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	querypb "slipway.dev/proto/query/v1"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/query"
	"slipway.dev/services/ip/internal/domain"
)

// Range is a run of addresses as lists show it.
type Range struct {
	ID, PoolID, NetworkID int32
	Name                  string
}

var ranges = query.List{
	From: "pool_range r", Columns: "r.id, r.pool_id, r.network_id, r.name", LastNotify: lastChange,
	Fields: map[string]query.Field{
		"id":      {SQL: "r.id", Type: query.Int},
		"name":    {SQL: "r.name", Type: query.Text},
		"ippool":  {SQL: "r.pool_id", Type: query.Int},
		"ipnet":   {SQL: "r.network_id", Type: query.Int},
		"network": {SQL: "r.network_id", Type: query.Int},
		"family":  {SQL: "family(r.first)", Type: query.Int},
	},
}

// Ranges lists the ranges of all pools.
func (s *Store) Ranges(ctx context.Context, q *querypb.Query) (query.Rows[Range], error) {
	return query.Read[Range](ctx, s.lists, ranges, q, query.Scope{})
}

// AddRange adds r to a pool. All of it lies in one network, and no two ranges overlap.
func (t Tx) AddRange(ctx context.Context, pool int32, r domain.Range) (id int32, err error) {
	err = t.QueryRow(ctx, `SELECT id FROM pool WHERE id = $1 FOR KEY SHARE`, pool).Scan(&pool)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, noPool(pool)
	}
	if err != nil {
		return 0, err
	}
	n, err := t.networkOf(ctx, r)
	if err != nil {
		return 0, err
	}
	usable := r.Usable(n.CIDR)
	if r.Contains(n.Gateway) {
		usable--
	}
	if usable == 0 {
		return 0, fault.Invalid.With("%s contains no usable address", r.Name).On("name")
	}
	err = t.QueryRow(ctx, `
		INSERT INTO pool_range (pool_id, network_id, name, first, last, usable, next)
		VALUES ($1, $2, $3, $4, $5, $6, CASE WHEN family($4::inet) = 6 THEN $4::inet END)
		RETURNING id`, pool, n.ID, r.Name, r.First, r.Last, r.Usable(n.CIDR)).Scan(&id)
	if pg.IsExclusion(err, "pool_range_overlap") {
		return 0, fault.Conflict.With("%s overlaps a range that exists", r.Name).On("name")
	}
	if err != nil {
		return 0, err
	}
	return id, t.addAddresses(ctx, id, n, r)
}

func (t Tx) networkOf(ctx context.Context, r domain.Range) (domain.Network, error) {
	rows, err := t.Query(ctx, `
		SELECT `+networkOwn+` FROM network n
		WHERE n.cidr >> $1::inet AND n.type = 'active' FOR NO KEY UPDATE`, r.First)
	if err != nil {
		return domain.Network{}, err
	}
	n, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByNameLax[domain.Network])
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return n, fault.Invalid.With("%s is in no active network; create the network first", r.Name).On("name")
	case err != nil:
		return n, err
	case !r.In(n.CIDR):
		return n, fault.Invalid.With("%s reaches beyond the network %s", r.Name, n.CIDR).On("name")
	}
	return n, nil
}

// addAddresses makes the rows: all of an IPv4 range, and the gateway alone of an IPv6 range.
func (t Tx) addAddresses(ctx context.Context, id int32, n domain.Network, r domain.Range) error {
	if r.First.Is6() {
		if !r.Contains(n.Gateway) {
			return nil
		}
		return t.makeGateway(ctx, n.Gateway)
	}
	_, err := t.Exec(ctx, `
		INSERT INTO address (ip, range_id, pool_id, state)
		SELECT x.ip, r.id, r.pool_id, CASE
			WHEN x.ip = n.gateway THEN 'gateway'
			WHEN masklen(n.cidr) >= 31 THEN 'free'
			WHEN x.ip = host(n.cidr)::inet THEN 'network'
			WHEN x.ip = host(broadcast(n.cidr))::inet THEN 'broadcast'
			ELSE 'free' END
		FROM pool_range r JOIN network n ON n.id = r.network_id,
		     LATERAL (SELECT r.first + g AS ip FROM generate_series(0, r.last - r.first) g) x
		WHERE r.id = $1`, id)
	return err
}

// DeleteRange removes a range of which no address is in use. A quarantined address has no owner and does not count:
// who removes a range wants its addresses out of the pool.
func (t Tx) DeleteRange(ctx context.Context, id int32) error {
	var name string
	err := t.QueryRow(ctx, `SELECT name FROM pool_range WHERE id = $1 FOR UPDATE`, id).Scan(&name)
	if errors.Is(err, pgx.ErrNoRows) {
		return fault.NotFound.With("no range %d", id)
	}
	if err != nil {
		return err
	}
	// Waits for claims under way; what they take is there afterwards.
	if _, err := t.Exec(ctx, `DELETE FROM address WHERE range_id = $1 AND owner IS NULL`, id); err != nil {
		return err
	}
	var held int
	if err := t.QueryRow(ctx, `SELECT count(*) FROM address WHERE range_id = $1`, id).Scan(&held); err != nil {
		return err
	}
	if held > 0 {
		return domain.ErrInUse.With("%d addresses of the range %s are in use", held, name)
	}
	_, err = t.Exec(ctx, `DELETE FROM pool_range WHERE id = $1`, id)
	return err
}
