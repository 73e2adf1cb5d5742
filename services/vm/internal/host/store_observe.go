package host

import (
	"context"
	"time"

	"github.com/google/uuid"

	"slipway.dev/pkg/unit"
)

// Difference is how the hosts of a node differed from what the node saw.
type Difference struct {
	Changed int64 // are now as they were seen
	Left    int64 // are not, because a job works on them, or they were changed meanwhile
}

// Observe keeps what a node saw after the database's time since: the state of hosts that no job works on, and that were
// not changed in between. Hosts that the node did not list are crashed: their definition is gone.
func Observe(ctx context.Context, db *unit.DB, nodeID int32, since time.Time, seen []Observation) (d Difference, err error) {
	ids := make([]uuid.UUID, len(seen))
	states := make([]string, len(seen))
	for i, x := range seen {
		ids[i], states[i] = x.UUID, string(x.State)
	}
	const observable = `h.changed_at < $4 AND h.state IN ('active', 'stopped', 'crashed', 'paused', 'unknown')`
	err = db.QueryRow(ctx, `
		WITH differs AS (
			SELECT o.id, coalesce(v.state, 'crashed') AS state
			FROM host o LEFT JOIN unnest($2::uuid[], $3::text[]) AS v(uuid, state) ON v.uuid = o.uuid
			WHERE o.node_id = $1 AND o.state <> coalesce(v.state, 'crashed')
		), changed AS (
			UPDATE host h SET state = d.state, changed_at = now(),
				started_at = CASE WHEN d.state = 'active' AND h.state IN ('stopped', 'crashed') THEN now()
					WHEN d.state IN ('stopped', 'crashed') THEN NULL ELSE h.started_at END
			FROM differs d
			WHERE d.id = h.id AND h.node_id = $1 AND h.state <> d.state AND `+observable+`
			  AND NOT EXISTS (SELECT FROM job j WHERE j.key = 'host/' || h.id AND j.state IN ('queued', 'running', 'undoing'))
			RETURNING h.id
		)
		SELECT (SELECT count(*) FROM changed), (SELECT count(*) FROM differs) - (SELECT count(*) FROM changed)`,
		nodeID, ids, states, since).Scan(&d.Changed, &d.Left)
	return d, err
}

// LoseContact makes the hosts of a node that does not answer unknown, never stopped.
func LoseContact(ctx context.Context, db *unit.DB, nodeID int32) error {
	_, err := db.Exec(ctx, `
		UPDATE host SET state = 'unknown', changed_at = now()
		WHERE node_id = $1 AND state IN ('active', 'stopped', 'crashed', 'paused')`, nodeID)
	return err
}
