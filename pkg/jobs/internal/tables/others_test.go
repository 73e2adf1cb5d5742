package tables_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/jobs"
	"slipway.dev/pkg/jobs/internal/backend"
	"slipway.dev/pkg/jobs/internal/tables"
	"slipway.dev/pkg/pg/pgtest"
)

// TestOtherJobsAreLeftAlone has each call change one of two jobs that are alike, at the same step: nothing changes of the other one
// and of its steps.
func TestOtherJobsAreLeftAlone(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, jobs.Migrations)
	b := tables.New(pool)
	step := func(seq int) *backend.StepRecord { return &backend.StepRecord{Seq: seq, Name: fmt.Sprint("step", seq)} }
	undo := func(l backend.Lease) error {
		_, err := b.StartUndo(t.Context(), l, time.Hour, fault.NotFound)
		return err
	}
	for name, call := range map[string]func(backend.Lease) error{
		"advance": func(l backend.Lease) error { _, err := b.Advance(t.Context(), l, time.Hour, 2, step(3)); return err },
		"turn":    undo,
		"undone":  func(l backend.Lease) error { return errors.Join(undo(l), b.Undone(t.Context(), l, time.Hour, 2)) },
		"give up": func(l backend.Lease) error { return errors.Join(undo(l), b.GiveUp(t.Context(), l, fault.NotFound)) },
		"release": func(l backend.Lease) error {
			return b.Release(t.Context(), l, 2, backend.Release{After: time.Minute, Fault: fault.NotFound, Attempts: 1})
		},
		"finish": func(l backend.Lease) error {
			return b.InTx(t.Context(), func(tx pgx.Tx) error { return b.Finish(t.Context(), tx, l, 2) })
		},
		"fail": func(l backend.Lease) error {
			return errors.Join(undo(l), b.InTx(t.Context(), func(tx pgx.Tx) error { return b.Fail(t.Context(), tx, l) }))
		},
		"renew": func(l backend.Lease) error {
			_, err := b.Renew(t.Context(), []int32{l.ID}, []int64{l.Fence}, 2*time.Hour)
			return err
		},
	} {
		if _, err := pool.Exec(t.Context(), `INSERT INTO job (kind, key, args) SELECT 'work', $1 || i, '{}' FROM generate_series(1, 2) i`, name); err != nil {
			t.Fatal(err)
		}
		got, err := b.Claim(t.Context(), claimOf(2))
		if err != nil || len(got) != 2 {
			t.Fatalf("%s: %v %v", name, got, err)
		}
		for _, j := range got {
			l := backend.Lease{ID: j.ID, Fence: j.Fence}
			for done, next := range []*backend.StepRecord{step(1), step(2)} {
				if _, err := b.Advance(t.Context(), l, time.Hour, done, next); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
			}
		}
		state := func(id int32) (s string) {
			t.Helper()
			err := pool.QueryRow(t.Context(), `
				SELECT to_jsonb(j)::text || (SELECT jsonb_agg(s ORDER BY seq) FROM job_step s WHERE job_id = j.id)::text FROM job j WHERE id = $1`, id).Scan(&s)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		before, was := state(got[0].ID), state(got[1].ID)
		if err := call(backend.Lease{ID: got[0].ID, Fence: got[0].Fence}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if state(got[0].ID) == before {
			t.Errorf("%s changes nothing", name)
		}
		if is := state(got[1].ID); is != was {
			t.Errorf("%s of another job changes\n%s to\n%s", name, was, is)
		}
	}
}
