package store

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/clamp"
	"slipway.dev/pkg/obs"
	"slipway.dev/pkg/pg"
	"slipway.dev/services/vm/internal/domain"
)

// MachineKey is the key of jobs about a machine that is no host.
func MachineKey(id uuid.UUID) string { return "machine/" + id.String() }

// Stranger is a machine that no host is, with what is known of it.
type Stranger struct {
	Sight
	domain.Evidence
}

// Strangers returns those of the machines that a node saw, not before the database's time since, and no host is. A
// tombstone that is younger says nothing: the machine was seen before its host was deleted.
func (s *Store) Strangers(ctx context.Context, nodeID int32, since time.Time, seen []Sight) ([]Stranger, error) {
	ids := make([]uuid.UUID, len(seen))
	byID := map[uuid.UUID]Sight{}
	for i, x := range seen {
		ids[i], byID[x.UUID] = x.UUID, x
	}
	rows, err := s.pool.Query(ctx, `
		SELECT v.uuid, n.uuid::text, coalesce((SELECT id FROM installation), ''),
		       t.uuid IS NOT NULL, coalesce(t.node::text, ''), coalesce(t.fence, 0)
		FROM unnest($2::uuid[]) AS v(uuid) JOIN node n ON n.id = $1 LEFT JOIN tombstone t ON t.uuid = v.uuid AND t.created_at < $3
		WHERE NOT EXISTS (SELECT FROM host h WHERE h.uuid = v.uuid)
		ORDER BY v.uuid`, nodeID, ids, since)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (x Stranger, err error) {
		var id uuid.UUID
		e := &x.Evidence
		err = row.Scan(&id, &e.Node, &e.Installation, &e.Buried, &e.BuriedOn, &e.BuriedFence)
		x.Sight = byID[id]
		e.StackID, e.NodeID, e.Fence = x.Sight.StackID, x.Sight.NodeID, x.Sight.Fence
		return x, err
	})
}

// KeepStrangers stores what was made of the strangers on a node. Those that are not there any more are forgotten.
func (s *Store) KeepStrangers(ctx context.Context, nodeID int32, list []Stranger, verdicts []domain.Verdict) error {
	ids, hosts, states, said := make([]uuid.UUID, len(list)), make([]int32, len(list)), make([]string, len(list)), make([]string, len(list))
	for i, x := range list {
		ids[i], hosts[i], states[i], said[i] = x.UUID, x.HostID, string(x.State), string(verdicts[i])
	}
	_, err := s.pool.Exec(ctx, `
		WITH gone AS (DELETE FROM stranger WHERE node_id = $1 AND uuid <> ALL($2::uuid[]))
		INSERT INTO stranger (node_id, uuid, host_id, state, verdict)
		SELECT $1, * FROM unnest($2::uuid[], $3::integer[], $4::text[], $5::text[])
		ON CONFLICT (node_id, uuid) DO UPDATE SET
			host_id = excluded.host_id, state = excluded.state, verdict = excluded.verdict, last_seen = now()`,
		nodeID, ids, hosts, states, said)
	return err
}

// StrangerItem is a stranger as the list shows it.
type StrangerItem struct {
	UUID      uuid.UUID
	HostID    int32 `db:"host_id"`
	State     string
	Verdict   string
	FirstSeen time.Time `db:"first_seen"`
	LastSeen  time.Time `db:"last_seen"`
}

// NodeStrangers lists the strangers on a node as they were last seen.
func (s *Store) NodeStrangers(ctx context.Context, nodeID int32) ([]StrangerItem, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT uuid, host_id, state, verdict, first_seen, last_seen FROM stranger WHERE node_id = $1
		ORDER BY first_seen, uuid LIMIT 1000`, nodeID)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByName[StrangerItem])
}

// Bury leaves a tombstone of a host that is removed by the command with this fence.
func (t Tx) Bury(ctx context.Context, hostID int32, fence int64) error {
	_, err := t.Exec(ctx, `
		INSERT INTO tombstone (uuid, host_id, node, fence)
		SELECT h.uuid, h.id, n.uuid, $2 FROM host h JOIN node n ON n.id = h.node_id WHERE h.id = $1
		ON CONFLICT DO NOTHING`, hostID, fence)
	return err
}

// MayReap asks the breaker of a node for the removal of one machine, and counts it. Units of work on one node wait for each
// other here. pending: it is being removed already.
func (t Tx) MayReap(ctx context.Context, nodeID int32, machine uuid.UUID, machines int) (may, pending bool, err error) {
	var open bool
	var count int
	err = t.QueryRow(ctx, `SELECT breaker_opened_at IS NOT NULL FROM node WHERE id = $1 FOR NO KEY UPDATE`, nodeID).Scan(&open)
	if err != nil {
		return false, false, err
	}
	err = t.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM job WHERE key = $2 AND state IN ('queued', 'running', 'undoing')),
		       (SELECT count(*) FROM reaped r JOIN node n ON n.id = r.node_id
		        WHERE n.id = $1 AND r.at > greatest(n.breaker_since, now() - interval '1 hour'))`,
		nodeID, MachineKey(machine)).Scan(&pending, &count)
	switch {
	case err != nil || open || pending:
		return false, pending, err
	case count >= domain.BreakerLimit(machines):
		return false, false, t.openBreaker(ctx, nodeID, count)
	}
	_, err = t.Exec(ctx, `INSERT INTO reaped (node_id, uuid) VALUES ($1, $2)`, nodeID, machine)
	return err == nil, false, err
}

func (t Tx) openBreaker(ctx context.Context, nodeID int32, removed int) error {
	if _, err := t.Exec(ctx, `UPDATE node SET breaker_opened_at = now() WHERE id = $1`, nodeID); err != nil {
		return err
	}
	return t.Emit(ctx, "vm.v3.node.breaker_opened", NodeKey(nodeID), &vmpb.BreakerOpened{NodeId: nodeID, Removed: clamp.Int32(removed)})
}

// Breakers are those of all nodes, with what counts against them.
func (s *Store) Breakers(ctx context.Context) ([]obs.Breaker, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT n.id::text, n.breaker_opened_at IS NOT NULL,
		       (SELECT count(*) FROM reaped r WHERE r.node_id = n.id AND r.at > greatest(n.breaker_since, now() - interval '1 hour'))
		FROM node n ORDER BY n.id`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[obs.Breaker])
}

// ResetBreaker closes the breaker of a node and begins to count anew.
func (t Tx) ResetBreaker(ctx context.Context, nodeID int32) error {
	tag, err := t.Exec(ctx, `UPDATE node SET breaker_opened_at = NULL, breaker_since = now() WHERE id = $1`, nodeID)
	if err == nil && tag.RowsAffected() == 0 {
		return pg.Missing("node", nodeID)
	}
	return err
}

// Leftover is where the agent of a node is, and whether a host has the machine's UUID after all.
func (s *Store) Leftover(ctx context.Context, nodeID int32, machine string) (endpoint string, host bool, err error) {
	err = s.pool.QueryRow(ctx, `
		SELECT endpoint, EXISTS (SELECT FROM host WHERE uuid = $2) FROM node WHERE id = $1`, nodeID, machine).Scan(&endpoint, &host)
	if errors.Is(err, pgx.ErrNoRows) {
		err = pg.Missing("node", nodeID)
	}
	return endpoint, host, err
}
