package tables_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/jobs"
	"slipway.dev/pkg/jobs/internal/backend"
	"slipway.dev/pkg/jobs/internal/tables"
	"slipway.dev/pkg/pg/pgtest"
)

// TestErrorsOfTheDatabaseComeOut has every method fail on a database that is away: none reports success, and none takes the
// error for a lost lease, which would stop a job.
func TestErrorsOfTheDatabaseComeOut(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, jobs.Migrations)
	if _, err := pool.Exec(t.Context(), `INSERT INTO job (kind, key, args) VALUES ('work', 'k', '{}')`); err != nil {
		t.Fatal(err)
	}
	b := tables.New(pool)
	got, err := b.Claim(t.Context(), claimOf(1))
	if err != nil || len(got) != 1 {
		t.Fatalf("%v %v", got, err)
	}
	l := backend.Lease{ID: got[0].ID, Fence: got[0].Fence}
	away, cancel := context.WithCancel(t.Context())
	cancel()
	for name, call := range map[string]func() error{
		"claim":    func() error { _, err := b.Claim(away, claimOf(1)); return err },
		"explain":  func() error { return b.Explain(away, []int32{1}, backend.ErrNodeHangs) },
		"steps":    func() error { _, err := b.Steps(away, l.ID); return err },
		"advance":  func() error { _, err := b.Advance(away, l, time.Hour, 0, nil); return err },
		"turn":     func() error { _, err := b.StartUndo(away, l, time.Hour, fault.NotFound); return err },
		"undone":   func() error { return b.Undone(away, l, time.Hour, 1) },
		"give up":  func() error { return b.GiveUp(away, l, fault.NotFound) },
		"release":  func() error { return b.Release(away, l, 0, backend.Release{}) },
		"in tx":    func() error { return b.InTx(away, func(pgx.Tx) error { return nil }) },
		"renew":    func() error { _, err := b.Renew(away, []int32{l.ID}, []int64{l.Fence}, time.Hour); return err },
		"canceled": func() error { _, err := b.Canceled(away, []int32{l.ID}, []int64{l.Fence}); return err },
		"takeover": func() error { return b.TakeOver(away, "me") },
		"prune":    func() error { _, err := b.Prune(away, time.Hour, 1); return err },
		"finish": func() error {
			return b.InTx(t.Context(), func(tx pgx.Tx) error { return b.Finish(away, tx, l, 0) })
		},
		"fail": func() error { return b.InTx(t.Context(), func(tx pgx.Tx) error { return b.Fail(away, tx, l) }) },
		"fails in tx": func() error {
			return b.InTx(t.Context(), func(tx pgx.Tx) error { return errors.New("no") })
		},
	} {
		if err := call(); err == nil || errors.Is(err, backend.ErrLeaseLost) || errors.Is(err, backend.ErrCanceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var state string
	var steps int
	if err := pool.QueryRow(t.Context(), `SELECT state, (SELECT count(*) FROM job_step) FROM job`).Scan(&state, &steps); err != nil || state != "running" || steps != 0 {
		t.Errorf("the job is %s with %d steps: %v", state, steps, err)
	}
}

// TestClaimPassesALockedRow has another transaction hold the row of a job: a claim takes the others and does not wait.
func TestClaimPassesALockedRow(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, jobs.Migrations)
	if _, err := pool.Exec(t.Context(), `
		INSERT INTO job (kind, key, args, node_id) SELECT 'work', 'k' || i, '{}', 1 FROM generate_series(1, 3) i`); err != nil {
		t.Fatal(err)
	}
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(context.WithoutCancel(t.Context()))
	if _, err := tx.Exec(t.Context(), `SELECT FROM job WHERE key = 'k1' FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	b := tables.New(pool)
	if err := b.Explain(ctx, []int32{1}, backend.ErrNodeHangs); err != nil {
		t.Errorf("explain: %v", err)
	}
	got, err := b.Claim(ctx, claimOf(3))
	if err != nil || len(got) != 2 || got[0].Key == "k1" || got[1].Key == "k1" {
		t.Errorf("%+v %v", got, err)
	}
	rows, err := b.Renew(ctx, []int32{got[0].ID}, []int64{got[0].Fence}, time.Hour)
	if err != nil || len(rows) != 1 || !rows[0].Renewed {
		t.Errorf("%+v %v", rows, err)
	}
}

// TestPutBackIsNotRenewed has a renewal come after its job was put back: the job stays free.
func TestPutBackIsNotRenewed(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, jobs.Migrations)
	if _, err := pool.Exec(t.Context(), `INSERT INTO job (kind, key, args) VALUES ('work', 'k', '{}')`); err != nil {
		t.Fatal(err)
	}
	b := tables.New(pool)
	got, err := b.Claim(t.Context(), claimOf(1))
	if err != nil || len(got) != 1 {
		t.Fatalf("%v %v", got, err)
	}
	if err := b.Release(t.Context(), backend.Lease{ID: got[0].ID, Fence: got[0].Fence}, 0, backend.Release{}); err != nil {
		t.Fatal(err)
	}
	rows, err := b.Renew(t.Context(), []int32{got[0].ID}, []int64{got[0].Fence}, time.Hour)
	if err != nil || len(rows) != 1 || rows[0].Renewed {
		t.Errorf("%+v %v", rows, err)
	}
	if again, err := b.Claim(t.Context(), claimOf(1)); err != nil || len(again) != 1 {
		t.Errorf("claimed again: %+v %v", again, err)
	}
}

// TestKindsOfANewerProgram checks for how long a job of a kind that a runner does not know is left alone, in the walk of
// queues and in that of keys.
func TestKindsOfANewerProgram(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]string{
		"first in its queue":  ``,
		"behind a long queue": `INSERT INTO job (kind, key, args, run_at) SELECT 'work', 'a', '{}', now() - interval '1 day' FROM generate_series(1, 300)`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := pgtest.New(t, jobs.Migrations)
			for _, sql := range []string{before, `
				INSERT INTO job (kind, key, args, run_at) VALUES ('new', 'young', '{}', now() - interval '50 minutes'),
				('new', 'old', '{}', now() - interval '70 minutes'), ('work', 'later', '{}', now() + interval '1 minute'),
				('work', 'now', '{}', now() - interval '1 minute')`} {
				if _, err := pool.Exec(t.Context(), sql); err != nil {
					t.Fatal(err)
				}
			}
			c := claimOf(20)
			c.UnknownAfter = time.Hour
			got, err := tables.New(pool).Claim(t.Context(), c)
			keys := map[string]bool{}
			for _, x := range got {
				keys[x.Key] = true
			}
			delete(keys, "a")
			if err != nil || len(keys) != 2 || !keys["old"] || !keys["now"] {
				t.Errorf("%v %v", keys, err)
			}
			if again, err := tables.New(pool).Claim(t.Context(), c); err != nil || len(again) != 0 {
				t.Errorf("leased jobs are claimed again: %v %v", again, err)
			}
		})
	}
}
