package jobs_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"slipway.dev/pkg/jobs"
	"slipway.dev/pkg/pg/pgtest"
)

func stopJob(t *testing.T, pool *pgxpool.Pool, id int32) (stopped bool) {
	t.Helper()
	err := pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) (err error) {
		stopped, err = jobs.Stop(t.Context(), tx, id)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return stopped
}

// TestStop: one job ends and the others of its key go on. A job that never ran is ended by its handler too, when its turn
// comes: what its request reserved is given back.
func TestStop(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, jobs.Migrations)
	var d diary
	running := make(chan struct{}, 1)
	r, stop := start(t, pool, slow, d.handler(d.step("a", func(ctx context.Context, run *jobs.Run) error {
		select {
		case running <- struct{}{}:
			<-ctx.Done()
			return ctx.Err()
		default:
			return nil
		}
	})))
	first, second, third := enqueue(t, pool, r, "k"), enqueue(t, pool, r, "k"), enqueue(t, pool, r, "k")
	for len(running) == 0 {
		if _, err := jobs.Get(t.Context(), pool, first.ID); err != nil {
			t.Fatal(err)
		}
	}
	if !stopJob(t, pool, second.ID) || !stopJob(t, pool, first.ID) {
		t.Error("not stopped")
	}
	if stopJob(t, pool, first.ID) {
		t.Error("stopped twice")
	}
	r.Poke()
	for id, want := range map[int32]jobs.State{first.ID: jobs.Canceled, second.ID: jobs.Canceled, third.ID: jobs.Done} {
		if got := wait(t, pool, id); got.State != want {
			t.Errorf("job %d is %s, want %s", id, got.State, want)
		}
	}
	stop()
	if stopJob(t, pool, third.ID) {
		t.Error("a finished job was stopped")
	}
	if want := "+a -a failed:CANCELED failed:CANCELED +a done"; d.String() != want {
		t.Errorf("%s, want %s", &d, want)
	}
}
