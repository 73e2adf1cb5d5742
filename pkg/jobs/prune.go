package jobs

import (
	"context"
	"time"
)

const (
	pruneEvery = time.Hour
	pruneBatch = 1000 // jobs in one statement: locks and the log stay small
)

// prune removes jobs that finished longer ago than Keep, until ctx ends. Several runners may prune at the same time.
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
	return r.backend.Prune(ctx, r.cfg.Keep, pruneBatch)
}
