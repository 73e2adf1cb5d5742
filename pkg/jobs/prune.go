package jobs

import (
	"context"
	"fmt"
	"time"
)

// pruneEvery is how often finished jobs are looked through, pruneBatch how many are removed at a time: locks and the log
// stay small.
const (
	pruneEvery = time.Hour
	pruneBatch = 1000
)

// prune removes jobs that finished longer ago than Keep, until ctx ends. Of several runners each removes what the others
// do not hold.
func (r *Runner) prune(ctx context.Context) {
	tick := time.NewTicker(pruneEvery)
	defer tick.Stop()
	for {
		for {
			n, err := r.Prune(ctx)
			if err != nil && ctx.Err() == nil {
				r.cfg.Log.Warn("jobs: prune", "err", err)
			}
			if n < pruneBatch || err != nil {
				break
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Prune removes one batch of jobs that finished longer ago than Keep, and returns how many.
func (r *Runner) Prune(ctx context.Context) (int64, error) {
	return r.book.prune(ctx, r.cfg.Keep)
}

func (t tables) prune(ctx context.Context, keep time.Duration) (int64, error) {
	tag, err := t.pool.Exec(ctx, `
		DELETE FROM job WHERE id IN (
			SELECT id FROM job WHERE finished_at < now() - $1::interval
			ORDER BY finished_at LIMIT $2 FOR UPDATE SKIP LOCKED)`, keep, pruneBatch)
	if err != nil {
		return 0, fmt.Errorf("prune: %w", err)
	}
	return tag.RowsAffected(), nil
}
