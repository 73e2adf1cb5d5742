package jobs

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/jobs/internal/tables"
	"slipway.dev/pkg/pg"
)

// Backlog counts the jobs of one kind in one state. Age is that of the oldest of them.
type Backlog struct {
	Kind  string
	State State
	Count int
	Age   time.Duration
}

// Waiting returns the backlogs of all unfinished jobs, for metrics.
func Waiting(ctx context.Context, db pg.DB) ([]Backlog, error) {
	rows, err := db.Query(ctx, `
		SELECT kind, state, count(*)::integer, now() - min(created_at)
		FROM job WHERE `+tables.Unfinished+` GROUP BY kind, state`)
	if err != nil {
		return nil, fmt.Errorf("jobs that wait: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Backlog])
}
