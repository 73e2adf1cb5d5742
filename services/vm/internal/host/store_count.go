package host

import (
	"context"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/unit"
)

// fold adds the changes of the numbers of hosts to these, if there are at least so many changes. Whoever counts meanwhile
// counts each change once: it is in one place or in the other.
func fold(ctx context.Context, db *unit.DB, least int64) error {
	b := &pgx.Batch{}
	b.Queue(`
		WITH gone AS MATERIALIZED (
			DELETE FROM host_change WHERE (SELECT count(*) FROM (SELECT FROM host_change LIMIT $1) v) = $1
			RETURNING account_id, cluster_id, state, n
		), totals AS (
			INSERT INTO host_total AS t (cluster_id, state, n)
			SELECT cluster_id, state, sum(n) FROM gone GROUP BY 1, 2 HAVING sum(n) <> 0 ORDER BY 1, 2
			ON CONFLICT (cluster_id, state) DO UPDATE SET n = t.n + excluded.n
		)
		INSERT INTO host_share AS s (account_id, cluster_id, state, n)
		SELECT account_id, cluster_id, state, sum(n) FROM gone GROUP BY 1, 2, 3 HAVING sum(n) <> 0 ORDER BY 1, 2, 3
		ON CONFLICT (account_id, cluster_id, state) DO UPDATE SET n = s.n + excluded.n`, least)
	b.Queue(`DELETE FROM host_share WHERE n = 0`)
	return db.Pool.SendBatch(ctx, b).Close()
}
