package cluster

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	ippb "slipway.dev/proto/ip/v3"

	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/unit"
)

// Ensure makes the first cluster if there is none.
func Ensure(ctx context.Context, db *unit.DB, name, domainTemplate string) error {
	_, err := db.Exec(ctx, `
		INSERT INTO cluster (name, domain_template) SELECT $1, $2 WHERE NOT EXISTS (SELECT FROM cluster)
		ON CONFLICT DO NOTHING`, name, domainTemplate)
	return err
}

// PoolBound keeps which clusters a pool of ip serves. Clusters that are gone by now are left out.
func PoolBound(ctx context.Context, tx *unit.Tx, p *ippb.PoolBound) error {
	_, err := tx.Exec(ctx, `
		WITH old AS (DELETE FROM cluster_pool WHERE pool_id = $1 AND cluster_id <> ALL($2))
		INSERT INTO cluster_pool (pool_id, cluster_id) SELECT $1, id FROM cluster WHERE id = ANY($2)
		ON CONFLICT DO NOTHING`, p.GetId(), append([]int32{}, p.GetClusterIds()...))
	return err
}

// setAntiSpoofing sets whether the guests of a cluster are limited to their own addresses, and returns what was and what
// is. nil changes nothing.
func setAntiSpoofing(ctx context.Context, tx *unit.Tx, id int32, on *bool) (before, now bool, err error) {
	err = tx.QueryRow(ctx, `
		UPDATE cluster c SET anti_spoofing = coalesce($2, c.anti_spoofing)
		FROM (SELECT id, anti_spoofing FROM cluster WHERE id = $1 FOR UPDATE) old
		WHERE c.id = old.id RETURNING old.anti_spoofing, c.anti_spoofing`, id, on).Scan(&before, &now)
	if errors.Is(err, pgx.ErrNoRows) {
		err = pg.Missing("cluster", id)
	}
	return before, now, err
}
