package jobs

import (
	"context"
	"time"
)

const (
	maxRenewal = 2 * time.Second       // how late a cancel of another process is seen
	cancelGap  = 10 * time.Millisecond // between two queries for cancels, however often the runner is poked
)

// heartbeat renews the leases and applies cancels until ctx ends.
func (r *Runner) heartbeat(ctx context.Context) {
	every := min(r.cfg.Lease/3, maxRenewal)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			select {
			case <-r.cancels: // a renewal sees cancels, too
			default:
			}
			r.renew(ctx, every)
		case <-r.cancels:
			select {
			case <-tick.C:
				r.renew(ctx, every)
				continue
			default:
			}
			r.applyCancels(ctx, every)
			select {
			case <-ctx.Done():
			case <-time.After(cancelGap):
			}
		}
	}
}

// held returns the leases, and their ids and fences as arrays for SQL.
func (r *Runner) held() (map[int32]*lease, []int32, []int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make(map[int32]*lease, len(r.leases))
	ids, fences := make([]int32, 0, len(r.leases)), make([]int64, 0, len(r.leases))
	for id, l := range r.leases {
		all[id] = l
		ids, fences = append(ids, id), append(fences, l.run.fence)
	}
	return all, ids, fences
}

// renew renews all leases, and ends those that the backend says are lost.
func (r *Runner) renew(ctx context.Context, limit time.Duration) {
	all, ids, fences := r.held()
	if len(ids) == 0 {
		r.unsure.Store(false)
		return
	}
	at := time.Now()
	query, stop := queryCtx(ctx, limit)
	defer stop()
	rows, err := r.backend.Renew(query, ids, fences, r.cfg.Lease)
	r.unsure.Store(err != nil)
	if err != nil {
		r.cfg.Log.Warn("jobs: renew leases", "err", err)
		return // its timer ends each lease that is not renewed in time
	}
	for _, row := range rows {
		l := all[row.ID]
		delete(all, row.ID)
		if row.Renewed {
			r.renewed(l, at)
		}
		if row.CancelRequested {
			l.cancel(ErrCanceled)
		}
	}
	for _, l := range all {
		l.end(ErrLeaseLost)
	}
}

// applyCancels cancels the contexts of jobs that were asked to stop.
func (r *Runner) applyCancels(ctx context.Context, limit time.Duration) {
	all, ids, fences := r.held()
	if len(ids) == 0 {
		return
	}
	query, stop := queryCtx(ctx, limit)
	defer stop()
	rows, err := r.backend.Canceled(query, ids, fences)
	if err != nil {
		return // the next heartbeat sees them
	}
	for _, row := range rows {
		all[row.ID].cancel(ErrCanceled)
	}
}

// queryCtx returns a context that the end of the heartbeat does not cancel: a renewal that goes on inside PostgreSQL would
// hold row locks.
func queryCtx(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), limit)
}
