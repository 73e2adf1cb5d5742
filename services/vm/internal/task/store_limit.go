package task

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/unit"
)

// readEvery is how late a limit that another replica set counts here.
const readEvery = 5 * time.Second

// Limits are how long tasks may run, by kind, as they were read last. They are safe for many goroutines.
type Limits struct {
	mu   sync.Mutex
	kind map[string]time.Duration
}

// Of returns the limit of a kind, 0 for none.
func (l *Limits) Of(kind string) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.kind[kind]
}

// Run reads the limits periodically until ctx ends. While the database is away those that were read last count.
func (l *Limits) Run(ctx context.Context, db *unit.DB, log *slog.Logger) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(readEvery):
		}
		if err := l.Read(ctx, db); err != nil && ctx.Err() == nil {
			log.Warn("read the limits of tasks", "err", err)
		}
	}
}

// Read reads the limits.
func (l *Limits) Read(ctx context.Context, db *unit.DB) error {
	rows, err := db.Query(ctx, `SELECT kind, seconds FROM task_limit`)
	if err != nil {
		return err
	}
	kinds := map[string]time.Duration{}
	var kind string
	var seconds int32
	_, err = pgx.ForEachRow(rows, []any{&kind, &seconds}, func() error {
		kinds[kind] = time.Duration(seconds) * time.Second
		return nil
	})
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.kind = kinds
	l.mu.Unlock()
	return nil
}

// limitOf returns the limit of a kind in seconds, 0 for none.
func limitOf(ctx context.Context, db pg.DB, kind string) (seconds int32, err error) {
	err = db.QueryRow(ctx, `SELECT coalesce((SELECT seconds FROM task_limit WHERE kind = $1), 0)`, kind).Scan(&seconds)
	return seconds, err
}

// setLimit records the limit of a kind in seconds, 0 for none.
func setLimit(ctx context.Context, tx *unit.Tx, kind string, seconds int32) error {
	if seconds == 0 {
		_, err := tx.Exec(ctx, `DELETE FROM task_limit WHERE kind = $1`, kind)
		return err
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO task_limit (kind, seconds) VALUES ($1, $2) ON CONFLICT (kind) DO UPDATE SET seconds = excluded.seconds`, kind, seconds)
	return err
}
