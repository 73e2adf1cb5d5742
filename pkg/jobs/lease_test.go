package jobs_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"slipway.dev/pkg/fence"
	"slipway.dev/pkg/jobs"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/pg/pgtest"
)

// cuttable returns a pool that loses its database when cut is set.
func cuttable(t *testing.T, pool *pgxpool.Pool) (*pgxpool.Pool, *atomic.Bool) {
	t.Helper()
	var cut atomic.Bool
	cfg := pool.Config()
	cfg.PrepareConn = func(context.Context, *pgx.Conn) (bool, error) {
		if cut.Load() {
			return true, errors.New("cut off")
		}
		return true, nil
	}
	p, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p, &cut
}

// lease is long enough for a heartbeat that a busy machine holds up for a second.
const lease = 1500 * time.Millisecond

// A runner that loses the database stops its job when the lease ends. Another runner takes the job, with a higher fence. Writes
// of the first runner are refused when it is back, even if its step ignores its context.
func TestLostLeaseIsTakenOverAndFencedOff(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, jobs.Migrations)
	deadPool, cut := cuttable(t, pool)
	cfg := jobs.Config{Name: "dead", Lease: lease, Poll: time.Hour}

	var dead, alive diary
	running, stopped, letGo := make(chan int64, 1), make(chan error, 1), make(chan struct{})
	first, stopFirst := start(t, deadPool, cfg, dead.handler(dead.step("a", nil), dead.step("b", func(ctx context.Context, run *jobs.Run) error {
		running <- run.Fence()
		<-ctx.Done()
		stopped <- context.Cause(ctx)
		<-letGo
		return nil
	})))
	j := enqueue(t, pool, first, "k")
	oldFence := <-running
	cut.Store(true)

	taken, finish := make(chan int64, 1), make(chan struct{})
	start(t, pool, jobs.Config{Name: "alive", Lease: time.Minute, Poll: 10 * time.Millisecond},
		alive.handler(alive.step("a", nil), alive.step("b", func(_ context.Context, run *jobs.Run) error {
			taken <- run.Fence()
			<-finish
			return nil
		})))
	if cause := <-stopped; !errors.Is(cause, jobs.ErrLeaseLost) {
		t.Errorf("cause %v", cause)
	}
	if newFence := <-taken; newFence <= oldFence {
		t.Errorf("fence %d after %d", newFence, oldFence)
	}
	cut.Store(false)
	close(letGo)
	stopFirst() // the first runner has tried to write by now
	if got, err := jobs.Get(t.Context(), pool, j.ID); err != nil || got.State != jobs.Running {
		t.Errorf("job %+v %v", got, err)
	}
	if s := steps(t, pool, j.ID); s != "a:done b:started" {
		t.Errorf("steps %s", s)
	}
	close(finish)
	if got := wait(t, pool, j.ID); got.State != jobs.Done || got.Attempt != 2 {
		t.Errorf("job %+v", got)
	}
	if dead.String() != "+a +b" || alive.String() != "+b done" {
		t.Errorf("dead %s, alive %s", &dead, &alive)
	}
}

// A step that takes longer than the lease keeps the lease, which the heartbeat renews.
func TestHeartbeatKeepsTheLease(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, jobs.Migrations)
	var d diary
	h := d.handler(d.step("a", func(ctx context.Context, _ *jobs.Run) error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * lease / 2):
			return nil
		}
	}))
	r, _ := start(t, pool, jobs.Config{Name: "a", Lease: lease, Poll: 20 * time.Millisecond}, h)
	start(t, pool, jobs.Config{Name: "b", Lease: lease, Poll: 20 * time.Millisecond}, h)
	if j := wait(t, pool, enqueue(t, pool, r, "k").ID); j.Attempt != 1 || d.String() != "+a done" {
		t.Errorf("attempt %d: %s", j.Attempt, &d)
	}
}

// A row that another transaction has locked does not cost the other jobs their leases.
func TestHeartbeatPassesALockedRow(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, jobs.Migrations)
	var d diary
	running := make(chan struct{}, 2)
	h := d.handler(d.step("a", func(ctx context.Context, run *jobs.Run) error {
		running <- struct{}{}
		if run.Key == "locked" {
			<-ctx.Done()
			return ctx.Err()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * lease / 2):
			return nil
		}
	}))
	r, stop := start(t, pool, jobs.Config{Name: "a", Lease: lease, Poll: time.Hour}, h)
	locked, free := enqueue(t, pool, r, "locked"), enqueue(t, pool, r, "free")
	<-running
	<-running
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `SELECT FROM job WHERE id = $1 FOR UPDATE`, locked.ID); err != nil {
		t.Fatal(err)
	}
	if j := wait(t, pool, free.ID); j.Attempt != 1 {
		t.Errorf("attempt %d", j.Attempt)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Error(err)
	}
	stop()
}

func TestShutdownPutsJobsBack(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, jobs.Migrations)
	var d diary
	running, block := make(chan struct{}), true
	h := d.handler(d.step("a", nil), d.step("b", func(ctx context.Context, _ *jobs.Run) error {
		if !block {
			return nil
		}
		close(running)
		<-ctx.Done()
		return ctx.Err()
	}))
	r, stop := start(t, pool, slow, h)
	j := enqueue(t, pool, r, "k")
	<-running
	stop()
	got, err := jobs.Get(t.Context(), pool, j.ID)
	if err != nil || got.State != jobs.Queued || got.Attempt != 0 || got.Reason != "" {
		t.Errorf("job %+v %v", got, err)
	}
	block = false
	start(t, pool, slow, h) // the lease was released: a new runner needs no patience
	if got := wait(t, pool, j.ID); got.State != jobs.Done || got.Attempt != 1 {
		t.Errorf("job %+v", got)
	}
	if d.String() != "+a +b +b done" {
		t.Errorf("diary %s", &d)
	}
}

// A shutdown during a claim leaves no job leased, as its key would wait until the lease ends.
func TestShutdownLeavesNoLease(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, jobs.Migrations)
	for i := range 50 {
		enqueue(t, pool, nil, fmt.Sprint(i))
	}
	var d diary
	for range 40 {
		r, stop := start(t, pool, slow, d.handler(d.step("a", func(ctx context.Context, _ *jobs.Run) error {
			<-ctx.Done()
			return ctx.Err()
		})))
		r.Poke()
		<-time.After(rand.N(3 * time.Millisecond)) // any moment of a claim
		stop()
		var leased int
		if err := pool.QueryRow(t.Context(), `SELECT count(*) FROM job WHERE locked_by IS NOT NULL OR attempt > 0`).Scan(&leased); err != nil || leased > 0 {
			t.Fatalf("%d jobs are leased %v", leased, err)
		}
	}
}

func TestTakeOver(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, jobs.Migrations)
	var d diary
	mine, other := enqueue(t, pool, nil, "mine"), enqueue(t, pool, nil, "other")
	for id, name := range map[int32]string{mine.ID: "me", other.ID: "another"} {
		_, err := pool.Exec(t.Context(), `
			UPDATE job SET state = 'running', attempt = 1, locked_by = $2, started_at = now(), lease_until = now() + interval '1 h'
			WHERE id = $1`, id, name)
		if err != nil {
			t.Fatal(err)
		}
	}
	_, stop := start(t, pool, jobs.Config{Name: "me", Poll: time.Hour}, d.handler(d.step("a", nil)))
	stop()
	if j, err := jobs.Get(t.Context(), pool, mine.ID); err != nil || j.State != jobs.Running {
		t.Errorf("without TakeOver: %+v %v", j, err)
	}
	start(t, pool, jobs.Config{Name: "me", Poll: time.Hour, TakeOver: true}, d.handler(d.step("a", nil)))
	if j := wait(t, pool, mine.ID); j.State != jobs.Done || j.Attempt != 2 {
		t.Errorf("job %+v", j)
	}
	if j, err := jobs.Get(t.Context(), pool, other.ID); err != nil || j.State != jobs.Running {
		t.Errorf("the lease of another name was taken: %+v %v", j, err)
	}
}

// A runner that lost the database goes on when the database is back.
func TestRunnerOutlivesTheDatabase(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, jobs.Migrations)
	cutPool, cut := cuttable(t, pool)
	var d diary
	r, _ := start(t, cutPool, jobs.Config{Name: "a", Poll: 10 * time.Millisecond}, d.handler(d.step("a", nil)))
	cut.Store(true)
	j := enqueue(t, pool, r, "k")
	<-time.After(50 * time.Millisecond) // a few polls that fail
	cut.Store(false)
	if got := wait(t, pool, j.ID); got.State != jobs.Done {
		t.Errorf("job %+v", got)
	}
}

// TestFencesCarryTheTimeline: numbers of leases begin with the timeline of the database, and go on above an accepted one.
func TestFencesCarryTheTimeline(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, jobs.Migrations)
	next := func(base string) (n int64) {
		t.Helper()
		err := pg.InTx(t.Context(), pool, func(tx pgx.Tx) error {
			if _, err := tx.Exec(t.Context(), `SELECT set_config('slipway.timeline_base', $1, true)`, base); err != nil {
				return err
			}
			return tx.QueryRow(t.Context(), `SELECT job_next_fence()`).Scan(&n)
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	// A database of an earlier version has given numbers without timelines.
	if _, err := pool.Exec(t.Context(), `SELECT setval('job_fence', 364)`); err != nil {
		t.Fatal(err)
	}
	first, second := next(""), next("")
	if first != fence.First(1)+1 || second != first+1 {
		t.Errorf("numbers %d and %d, want those after %d", first, second, fence.First(1))
	}
	if n := next("7"); n != fence.First(8)+1 {
		t.Errorf("after a failover %d, of timeline %d", n, fence.Timeline(n))
	}
	if n := next(""); n != fence.First(8)+2 {
		t.Errorf("a lower timeline moves the numbers back to %d", n)
	}
}
