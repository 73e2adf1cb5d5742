package leftover

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/host"
)

// Strangers returns the observations that no host is, with the evidence on each. They were made at the database's time
// since, or later: a tombstone that is younger says nothing, because the machine was seen before its host was deleted.
func (t tables) Strangers(ctx context.Context, nodeID int32, since time.Time, seen []host.Observation) ([]Stranger, error) {
	ids := make([]uuid.UUID, len(seen))
	byID := map[uuid.UUID]host.Observation{}
	for i, x := range seen {
		ids[i], byID[x.UUID] = x.UUID, x
	}
	rows, err := t.db.Query(ctx, `
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
		err = row.Scan(&id, &e.Node, &e.Installation, &e.Tombstone, &e.TombstoneNode, &e.TombstoneFence)
		x.Observation = byID[id]
		e.StackID, e.NodeID, e.Fence = x.Observation.StackID, x.Observation.NodeID, x.Observation.Fence
		return x, err
	})
}

// Leftover returns where the agent of a node is, and whether a host has the machine's UUID after all.
func (t tables) Leftover(ctx context.Context, nodeID int32, machine string) (endpoint string, isHost bool, err error) {
	err = t.db.QueryRow(ctx, `
		SELECT endpoint, EXISTS (SELECT FROM host WHERE uuid = $2) FROM node WHERE id = $1`, nodeID, machine).Scan(&endpoint, &isHost)
	if errors.Is(err, pgx.ErrNoRows) {
		err = pg.Missing("node", nodeID)
	}
	return endpoint, isHost, err
}

// Breaker is the breaker of one node, which stops the removal of too many machines.
type Breaker struct {
	Node    string
	Open    bool
	Removed int // machines whose removal counts
}

// Breakers returns the breakers of all nodes, with how many removals count against each.
func Breakers(ctx context.Context, db *unit.DB) ([]Breaker, error) {
	rows, err := db.Query(ctx, `
		SELECT n.id::text, n.breaker_opened_at IS NOT NULL,
		       (SELECT count(*) FROM reaped r WHERE r.node_id = n.id AND r.at > greatest(n.breaker_since, now() - interval '1 hour'))
		FROM node n ORDER BY n.id`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Breaker])
}
