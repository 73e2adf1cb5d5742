package leftover

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/jobs"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/node"
)

// tables is the Store of the tables.
type tables struct{ db *unit.DB }

// Tables returns the Store of the tables.
func Tables(db *unit.DB) Store { return tables{db} }

// CatchUp moves the numbers on if the database is older than what was seen.
func (t tables) CatchUp(ctx context.Context, fence int64, id int32) (jumped bool, err error) {
	return node.CatchUp(ctx, t.db, fence, id)
}

// KeepStrangers stores the verdicts on the strangers of a node. Strangers that are gone are removed.
func (t tables) KeepStrangers(ctx context.Context, nodeID int32, list []Stranger, verdicts []Verdict) error {
	ids, hosts, states, said := make([]uuid.UUID, len(list)), make([]int32, len(list)), make([]string, len(list)), make([]string, len(list))
	for i, x := range list {
		ids[i], hosts[i], states[i], said[i] = x.UUID, x.HostID, string(x.State), string(verdicts[i])
	}
	_, err := t.db.Exec(ctx, `
		WITH gone AS (DELETE FROM stranger WHERE node_id = $1 AND uuid <> ALL($2::uuid[]))
		INSERT INTO stranger (node_id, uuid, host_id, state, verdict)
		SELECT $1, * FROM unnest($2::uuid[], $3::integer[], $4::text[], $5::text[])
		ON CONFLICT (node_id, uuid) DO UPDATE SET
			host_id = excluded.host_id, state = excluded.state, verdict = excluded.verdict, last_seen = now()`,
		nodeID, ids, hosts, states, said)
	return err
}

// Reap asks the breaker of a node for the removal of a machine, counts the removal, and adds its job. Units of work on
// one node wait for each other here. pending reports that the machine is being removed already.
func (t tables) Reap(ctx context.Context, nodeID int32, machine uuid.UUID, machines int, job jobs.New) (
	may, pending bool, err error,
) {
	err = t.db.InTx(ctx, func(tx *unit.Tx) error {
		if may, pending, err = mayReap(ctx, tx, nodeID, machine, machines); err != nil || !may {
			return err
		}
		_, err := tx.Enqueue(ctx, job)
		return err
	})
	return may, pending, err
}

// mayReap counts the removal of a machine unless the node's breaker is open. It opens the breaker when there are too
// many.
func mayReap(ctx context.Context, tx *unit.Tx, nodeID int32, machine uuid.UUID, machines int) (
	may, pending bool, err error,
) {
	open, since, err := node.LockBreaker(ctx, tx, nodeID)
	if err != nil {
		return false, false, err
	}
	var count int
	err = tx.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM job WHERE key = $2 AND state IN ('queued', 'running', 'undoing')),
		       (SELECT count(*) FROM reaped WHERE node_id = $1 AND at > $3)`,
		nodeID, key(machine), since).Scan(&pending, &count)
	switch {
	case err != nil || open || pending:
		return false, pending, err
	case count >= BreakerLimit(machines):
		return false, false, node.OpenBreaker(ctx, tx, nodeID, count)
	}
	// Dated by the lock, and not by the beginning: the breaker may have been reset in between.
	_, err = tx.Exec(ctx, `INSERT INTO reaped (node_id, uuid, at) VALUES ($1, $2, clock_timestamp())`, nodeID, machine)
	return err == nil, false, err
}

// item is a stranger as the list shows it.
type item struct {
	UUID      uuid.UUID
	HostID    int32 `db:"host_id"`
	State     string
	Verdict   string
	FirstSeen time.Time `db:"first_seen"`
	LastSeen  time.Time `db:"last_seen"`
}

// list returns the strangers on a node as they were last seen.
func list(ctx context.Context, db *unit.DB, nodeID int32) ([]item, error) {
	rows, err := db.Query(ctx, `
		SELECT uuid, host_id, state, verdict, first_seen, last_seen FROM stranger WHERE node_id = $1
		ORDER BY first_seen, uuid LIMIT 1000`, nodeID)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByName[item])
}
