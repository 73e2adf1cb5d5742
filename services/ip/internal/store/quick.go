package store

import (
	"cmp"
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"slipway.dev/services/ip/internal/domain"
)

// atOnce claims $3 IPv4 addresses for an owner that has none, all or nothing: the lowest free ones of the first pools that
// have some. Two claims never wait for each other: rows that another works on are passed over. The same owner twice at
// the same time is refused by the unique position.
func atOnce(pools string) string {
	return `
	WITH pools AS MATERIALIZED (
		` + pools + `
	), picked AS MATERIALIZED (
		SELECT f.id, f.ip, p.n, p.interface FROM pools p CROSS JOIN LATERAL (
			SELECT id, ip FROM address WHERE pool_id = p.id AND state = 'free' ORDER BY ip LIMIT $3 FOR UPDATE SKIP LOCKED
		) f LIMIT $3
	), numbered AS (
		SELECT id, interface, (row_number() OVER (ORDER BY n, ip) - 1)::integer AS n, count(*) OVER () AS got FROM picked
	)
	UPDATE address a SET state = 'reserved', owner = $1, claim = $1, account_id = nullif($4, 0), position = k.n,
		interface = k.interface, until = now() + $5::interval, generation = a.generation + 1
	FROM numbered k, pool_range r JOIN network n ON n.id = r.network_id
	WHERE a.id = k.id AND r.id = a.range_id AND k.got = $3
	RETURNING ` + addressColumns
}

const newOwner = `NOT EXISTS (SELECT FROM address WHERE owner = $1)`

var (
	atOnceOfCluster = atOnce(`
		SELECT p.id, p.id AS n, b.interface FROM pool_cluster b JOIN pool p ON p.id = b.pool_id
		WHERE b.cluster_id = $2 AND (p.account_id IS NULL OR p.account_id = $4) AND ` + newOwner + ` ORDER BY p.id`)
	atOnceNamed = atOnce(`
		SELECT p.id, w.n, b.interface FROM unnest($6::integer[]) WITH ORDINALITY w(id, n)
		JOIN pool p ON p.id = w.id AND (p.account_id IS NULL OR p.account_id = $4)
		JOIN pool_cluster b ON b.pool_id = p.id AND b.cluster_id = $2
		WHERE ` + newOwner + ` AND cardinality($6) = (
			SELECT count(*) FROM pool_cluster x JOIN pool y ON y.id = x.pool_id
			WHERE x.cluster_id = $2 AND x.pool_id = ANY($6) AND (y.account_id IS NULL OR y.account_id = $4))
		ORDER BY w.n`)
)

// reserveAtOnce makes the usual claim in one round trip. When it does not come out, nothing has changed, or it is not
// known whether: the long way finds out, for it knows the key.
func (s *Store) reserveAtOnce(ctx context.Context, w domain.Want) ([]domain.Address, bool) {
	if !w.First() || w.IPv4 == 0 || w.IPv6 > 0 || w.Wish.IsValid() || w.OfNetwork != 0 {
		return nil, false
	}
	if w.IPv4 == 1 && w.Pools == nil {
		return s.together.claim(ctx, w)
	}
	sql, args := atOnceOfCluster, []any{w.Owner, w.Cluster, w.IPv4, w.Account, w.Lapse}
	if w.Pools != nil {
		sql, args = atOnceNamed, append(args, w.Pools)
	}
	rows, err := s.pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, false
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByName[domain.Address])
	if err != nil || len(list) != w.IPv4 {
		return nil, false
	}
	slices.SortFunc(list, func(a, b domain.Address) int { return cmp.Compare(a.Position, b.Position) })
	return list, true
}
