package jobs

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/pg"
)

// Backlog is how many jobs of one kind are in one state, and since when the oldest of them exists.
type Backlog struct {
	Kind  string
	State State
	Count int
	Age   time.Duration
}

// Waiting tells of all jobs that are not over, for metrics.
func Waiting(ctx context.Context, db pg.DB) ([]Backlog, error) {
	rows, err := db.Query(ctx, `
		SELECT kind, state, count(*)::integer, now() - min(created_at)
		FROM job WHERE `+unfinished+` GROUP BY kind, state`)
	if err != nil {
		return nil, fmt.Errorf("jobs that wait: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Backlog])
}
