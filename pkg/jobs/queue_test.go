package jobs_test

import (
	"testing"

	"slipway.dev/pkg/jobs"
	"slipway.dev/pkg/pg/pgtest"
)

// TestLongQueueOfOneKey checks that a claim reads at most a few hundred rows, however many jobs wait for one key.
func TestLongQueueOfOneKey(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, jobs.Migrations)
	for _, sql := range []string{
		`INSERT INTO job (kind, key, args, state, finished_at) SELECT 'work', 'one', '{}', 'done', now() FROM generate_series(1, 5000)`,
		`INSERT INTO job (kind, key, args, run_at) SELECT 'work', 'one', '{}', now() - interval '1 minute' FROM generate_series(1, 10000)`,
		`INSERT INTO job (kind, key, args) VALUES ('work', 'two', '{}'), ('work', 'two', '{}'), ('work', 'three', '{}')`,
		`ANALYZE job`,
	} {
		if _, err := pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(t.Context())
	if _, err := tx.Exec(t.Context(), jobs.ClaimSQL, jobs.ClaimArgs(16, "me")...); err != nil {
		t.Fatal(err)
	}
	var touched int
	err = tx.QueryRow(t.Context(), `
		SELECT seq_tup_read + idx_tup_fetch + idx_scan FROM pg_stat_xact_user_tables
		WHERE relname = 'job' AND schemaname = current_schema()`).Scan(&touched)
	if err != nil || touched < 100 || touched > 1500 {
		t.Errorf("%d rows and look-ups: %v", touched, err)
	}
	// The first of each key are claimed, though two of them are far behind in the queue.
	var keys []string
	if err := tx.QueryRow(t.Context(), `SELECT array_agg(key ORDER BY id) FROM job WHERE locked_by = 'me'`).Scan(&keys); err != nil {
		t.Fatal(err)
	}
	if len(keys) != 3 || keys[0] != "one" || keys[1] != "two" || keys[2] != "three" {
		t.Errorf("claimed: %v", keys)
	}
}
