package jobs_test

import (
	"testing"
	"time"

	"slipway.dev/pkg/jobs"
	"slipway.dev/pkg/pg/pgtest"
)

// Jobs that finished long ago are removed in batches; unfinished jobs stay, however old they are.
func TestPrune(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, jobs.Migrations)
	_, err := pool.Exec(t.Context(), `
		INSERT INTO job (kind, key, args, state, created_at, finished_at)
		SELECT 'k', 'x', '{}', CASE WHEN n % 10 = 0 THEN 'queued' ELSE 'done' END, now() - n * interval '1 day',
			CASE WHEN n % 10 <> 0 THEN now() - n * interval '1 day' END
		FROM generate_series(1, 3000) n`)
	if err != nil {
		t.Fatal(err)
	}
	r := jobs.NewRunner(pool, jobs.Config{Name: "r", Keep: 90 * 24 * time.Hour})
	var sum int64
	for {
		n, err := r.Prune(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if sum += n; n == 0 {
			break
		}
		if n > 1000 {
			t.Errorf("%d in one batch", n)
		}
	}
	var queued, done int
	err = pool.QueryRow(t.Context(), `SELECT count(*) FILTER (WHERE finished_at IS NULL), count(*) FILTER (WHERE finished_at IS NOT NULL) FROM job`).Scan(&queued, &done)
	// 1 to 90 days minus the nine that are queued; the ninetieth day's own job is queued.
	if err != nil || queued != 300 || done != 81 || sum != 3000-300-81 {
		t.Errorf("%d queued and %d finished stay, %d were removed, %v", queued, done, sum, err)
	}
}
