package watch

import (
	"context"
	"time"

	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/host"
	"slipway.dev/services/vm/internal/node"
)

// tables is the Store of the tables.
type tables struct{ db *unit.DB }

// Tables returns the Store of the tables.
func Tables(db *unit.DB) Store { return tables{db} }

func (t tables) Agents(ctx context.Context) ([]node.Agent, error) { return node.Agents(ctx, t.db) }

func (t tables) Begin(ctx context.Context, id int32, lately time.Duration) (since time.Time, quiet bool, err error) {
	return host.Begin(ctx, t.db, id, lately)
}

func (t tables) Observe(ctx context.Context, id int32, since time.Time, seen []host.Observation) (host.Difference, error) {
	return host.Observe(ctx, t.db, id, since, seen)
}

func (t tables) LoseContact(ctx context.Context, id int32) error {
	return host.LoseContact(ctx, t.db, id)
}
