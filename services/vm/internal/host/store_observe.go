package host

import (
	"context"
	"time"

	"github.com/google/uuid"

	"slipway.dev/pkg/unit"
)

// Observe keeps what a node saw after the database's time since: the state of hosts that no job works on, and that were
// not changed in between. Hosts that the node did not list are crashed: their definition is gone.
func Observe(ctx context.Context, db *unit.DB, nodeID int32, since time.Time, seen []Observation) (changed int64, err error) {
	ids := make([]uuid.UUID, len(seen))
	states := make([]string, len(seen))
	for i, x := range seen {
		ids[i], states[i] = x.UUID, string(x.State)
	}
	tag, err := db.Exec(ctx, `
		UPDATE host h SET state = coalesce(v.state, 'crashed'), changed_at = now()
		FROM host o LEFT JOIN unnest($2::uuid[], $3::text[]) AS v(uuid, state) ON v.uuid = o.uuid
		WHERE o.id = h.id AND h.node_id = $1 AND h.changed_at < $4
		  AND h.state IN ('active', 'stopped', 'crashed', 'paused', 'unknown')
		  AND h.state <> coalesce(v.state, 'crashed')
		  AND NOT EXISTS (SELECT FROM job j WHERE j.key = 'host/' || h.id AND j.state IN ('queued', 'running', 'undoing'))`,
		nodeID, ids, states, since)
	return tag.RowsAffected(), err
}

// LoseContact makes the hosts of a node that does not answer unknown, never stopped.
func LoseContact(ctx context.Context, db *unit.DB, nodeID int32) error {
	_, err := db.Exec(ctx, `
		UPDATE host SET state = 'unknown', changed_at = now()
		WHERE node_id = $1 AND state IN ('active', 'stopped', 'crashed', 'paused')`, nodeID)
	return err
}

// FoldCounts replaces the changes to each number of hosts by their sum, if there are many changes.
func FoldCounts(ctx context.Context, db *unit.DB) error {
	_, err := db.Exec(ctx, `
		WITH gone AS (
			DELETE FROM host_count WHERE (SELECT count(*) FROM (SELECT FROM host_count LIMIT 500) v) = 500
			RETURNING cluster_id, state, n)
		INSERT INTO host_count (cluster_id, state, n)
		SELECT cluster_id, state, sum(n) FROM gone GROUP BY 1, 2 HAVING sum(n) <> 0`)
	return err
}
