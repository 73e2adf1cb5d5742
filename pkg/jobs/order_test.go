package jobs_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/jobs"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/pg/pgtest"
)

// Many transactions enqueue at once and commit in another order than that of their ids; four runners race for the jobs. No two
// jobs of one key run at once, and their ids rise.
func TestOrderOfOneKeyUnderRaces(t *testing.T) {
	t.Parallel()
	const keys, writers, each, runners = 6, 8, 40, 4
	url, schema := pgtest.Schema(t)
	pool := pgtest.Open(t, url, schema)
	if err := pg.Migrate(t.Context(), pool, jobs.Migrations); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	busy, last, ran := map[string]int32{}, map[string]int32{}, 0
	finished := make(chan struct{})
	do := func(ctx context.Context, run *jobs.Run, _ args) error {
		mu.Lock()
		if other := busy[run.Key]; other != 0 {
			t.Errorf("%s: %d runs beside %d", run.Key, run.ID, other)
		}
		if last[run.Key] > run.ID {
			t.Errorf("%s: %d runs after %d", run.Key, run.ID, last[run.Key])
		}
		busy[run.Key], last[run.Key] = run.ID, run.ID
		mu.Unlock()
		if rand.N(4) == 0 {
			<-time.After(rand.N(3 * time.Millisecond)) // not to wait for something: to be in the way
		}
		mu.Lock()
		defer mu.Unlock()
		busy[run.Key] = 0
		if ran++; ran == writers*each {
			close(finished)
		}
		return nil
	}
	var all []*jobs.Runner
	for i := range runners {
		r := jobs.NewRunner(pgtest.Open(t, url, schema), jobs.Config{Name: fmt.Sprint(i), Workers: 4, Poll: 50 * time.Millisecond})
		jobs.Handle(r, "work", jobs.Handler[args]{Steps: []jobs.Step[args]{{Name: "a", Do: do}}})
		all = append(all, r)
		run(t, r)
	}
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				err := pg.InTx(t.Context(), pool, func(tx pgx.Tx) error {
					_, err := jobs.Enqueue(t.Context(), tx, jobs.New{Kind: "work", Key: fmt.Sprint(rand.N(keys))})
					if err == nil && rand.N(2) == 0 {
						<-time.After(rand.N(4 * time.Millisecond)) // hold the id back
					}
					return err
				})
				if err != nil {
					t.Error(err)
				}
				all[rand.N(runners)].Poke()
			}
		})
	}
	wg.Wait()
	select {
	case <-finished:
	case <-time.After(2 * time.Minute):
		t.Errorf("only %d of %d ran", ran, writers*each)
	}
}

// A key with a long queue does not keep other keys waiting.
func TestLongQueueStarvesNobody(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, jobs.Migrations)
	_, err := pool.Exec(t.Context(), `
		INSERT INTO job (kind, key, args, run_at) SELECT 'work', 'hog', '{}', now() - interval '1 h' FROM generate_series(1, 5000)`)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Exec(t.Context(), `ANALYZE job`); err != nil {
		t.Fatal(err)
	}
	release := make(chan struct{})
	var d diary
	h := d.handler(d.step("a", func(ctx context.Context, run *jobs.Run) error {
		if run.Key == "hog" {
			select {
			case <-release:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	}))
	r, stop := start(t, pool, slow, h)
	defer stop()
	j := wait(t, pool, enqueue(t, pool, r, "other").ID) // not before the release, if it is starved
	if j.State != jobs.Done {
		t.Errorf("%s", j.State)
	}
	t.Logf("behind 5000 blocked jobs: %s", j.FinishedAt.Sub(j.CreatedAt))
}
