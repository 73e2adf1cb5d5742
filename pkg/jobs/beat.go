package jobs

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	maxBeat = 2 * time.Second       // how late a cancel of another process is seen
	lookGap = 10 * time.Millisecond // between two looks for cancels, however often the runner is poked
)

// beat renews the leases and sees cancels until ctx ends.
func (r *Runner) beat(ctx context.Context) {
	every := min(r.cfg.Lease/3, maxBeat)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			select {
			case <-r.look: // renewing sees cancels, too
			default:
			}
			r.renew(ctx, every)
		case <-r.look:
			select {
			case <-tick.C:
				r.renew(ctx, every)
				continue
			default:
			}
			r.seeCancels(ctx, every)
			select {
			case <-ctx.Done():
			case <-time.After(lookGap):
			}
		}
	}
}

// held returns the leases as two arrays for SQL.
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

type beatRow struct {
	ID              int32
	CancelRequested bool
	Renewed         bool
}

// renewSQL skips a job whose row is locked, by a Cancel or by its own worker: one slow transaction must not end the
// leases of all other jobs. The flush to disk can be spared, a lost renewal is only a shorter lease.
const renewSQL = `
	WITH unflushed AS MATERIALIZED (
		SELECT set_config('synchronous_commit', 'off', true)
	), mine AS MATERIALIZED (
		SELECT id AS mine_id
		FROM job JOIN unnest($1::integer[], $2::bigint[]) AS l (lease_id, lease_fence)
			ON id = lease_id AND fence = lease_fence
		WHERE ` + unfinished + `
		FOR NO KEY UPDATE OF job SKIP LOCKED
	), renewed AS (
		UPDATE job SET lease_until = now() + $3::interval
		FROM mine, unflushed WHERE id = mine_id
		RETURNING id AS renewed_id
	)
	SELECT id, cancel_requested, renewed_id IS NOT NULL AS renewed
	FROM job JOIN unnest($1::integer[], $2::bigint[]) AS l (lease_id, lease_fence)
		ON id = lease_id AND fence = lease_fence
	LEFT JOIN renewed ON id = renewed_id`

func (r *Runner) renew(ctx context.Context, limit time.Duration) {
	all, ids, fences := r.held()
	if len(ids) == 0 {
		r.shaky.Store(false)
		return
	}
	at := time.Now()
	ask, stop := asking(ctx, limit)
	defer stop()
	rows, err := r.book.renew(ask, ids, fences, r.cfg.Lease)
	r.shaky.Store(err != nil)
	if err != nil {
		r.cfg.Log.Warn("jobs: renew leases", "err", err)
		return // each lease ends by itself when it is not renewed in time
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

func (r *Runner) seeCancels(ctx context.Context, limit time.Duration) {
	all, ids, fences := r.held()
	if len(ids) == 0 {
		return
	}
	ask, stop := asking(ctx, limit)
	defer stop()
	rows, err := r.book.canceled(ask, ids, fences)
	if err != nil {
		return // the next heartbeat sees them
	}
	for _, row := range rows {
		all[row.ID].cancel(ErrCanceled)
	}
}

// asking is not interrupted by the end of the beat: a renewal that goes on inside PostgreSQL would hold row locks.
func asking(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), limit)
}

func (t tables) renew(ctx context.Context, ids []int32, fences []int64, lease time.Duration) ([]beatRow, error) {
	return t.beats(ctx, renewSQL, ids, fences, lease)
}

func (t tables) canceled(ctx context.Context, ids []int32, fences []int64) ([]beatRow, error) {
	return t.beats(ctx, `
		SELECT id, cancel_requested, false AS renewed
		FROM job JOIN unnest($1::integer[], $2::bigint[]) AS l (lease_id, lease_fence)
			ON id = lease_id AND fence = lease_fence
		WHERE cancel_requested`, ids, fences)
}

func (t tables) beats(ctx context.Context, sql string, args ...any) ([]beatRow, error) {
	rows, err := t.pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByName[beatRow])
}
