package jobs_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/jobs"
	"slipway.dev/pkg/pg/pgtest"
)

func TestCancelWhatNeverRan(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, jobs.Migrations)
	a, b := enqueue(t, pool, nil, "k"), enqueue(t, pool, nil, "k")
	other := enqueue(t, pool, nil, "other")
	if n := cancelKey(t, pool, "k"); n != 2 {
		t.Errorf("canceled %d", n)
	}
	for _, id := range []int32{a.ID, b.ID} {
		if j := wait(t, pool, id); j.State != jobs.Canceled || j.Reason != "CANCELED" {
			t.Errorf("job %+v", j)
		}
	}
	if j, err := jobs.Get(t.Context(), pool, other.ID); err != nil || j.State != jobs.Queued {
		t.Errorf("other key: %+v %v", j, err)
	}
	if n := cancelKey(t, pool, "k"); n != 0 {
		t.Errorf("canceled %d again", n)
	}
}

func TestCancelWhatRuns(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		poke bool
	}{{"poked", true}, {"seen by the heartbeat", false}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			pool := pgtest.New(t, jobs.Migrations)
			var d diary
			running := make(chan struct{})
			r, stop := start(t, pool, slow, d.handler(d.step("a", nil), d.step("b", func(ctx context.Context, _ *jobs.Run) error {
				close(running)
				<-ctx.Done()
				if !errors.Is(context.Cause(ctx), jobs.ErrCanceled) {
					t.Errorf("cause %v", context.Cause(ctx))
				}
				return ctx.Err()
			}), d.step("c", nil)))
			j := enqueue(t, pool, r, "k")
			<-running
			if n := cancelKey(t, pool, "k"); n != 1 {
				t.Errorf("canceled %d", n)
			}
			if tt.poke {
				r.Poke()
			}
			got := wait(t, pool, j.ID)
			stop()
			if want := "+a +b -b -a failed:CANCELED"; got.State != jobs.Canceled || d.String() != want {
				t.Errorf("%s: %s, want %s", got.State, &d, want)
			}
		})
	}
}

// A canceled job that waits for its next attempt is undone at once.
func TestCancelWhatWaits(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, jobs.Migrations)
	var d diary
	failed := make(chan struct{}, 1)
	h := d.handler(d.step("a", func(context.Context, *jobs.Run) error {
		failed <- struct{}{}
		return errors.New("no")
	}))
	h.Backoff, h.MaxBackoff = time.Hour, time.Hour
	r, stop := start(t, pool, slow, h)
	j := enqueue(t, pool, r, "k")
	<-failed
	// The job may be running or queued when the cancel comes; in both cases it must end soon.
	cancelKey(t, pool, "k")
	r.Poke()
	got := wait(t, pool, j.ID)
	stop()
	if got.State != jobs.Canceled || d.String() != "+a -a failed:CANCELED" {
		t.Errorf("%s: %s", got.State, &d)
	}
}

// A cancel that commits between two steps is seen before the second step starts: that step is neither done nor undone.
func TestCancelBetweenSteps(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, jobs.Migrations)
	var d diary
	r, stop := start(t, pool, slow, d.handler(d.step("a", func(context.Context, *jobs.Run) error {
		cancelKey(t, pool, "k")
		return nil
	}), d.step("b", nil)))
	j := wait(t, pool, enqueue(t, pool, r, "k").ID)
	stop()
	if j.State != jobs.Canceled || d.String() != "+a -a failed:CANCELED" {
		t.Errorf("%s: %s", j.State, &d)
	}
	if s := steps(t, pool, j.ID); s != "a:undone" {
		t.Errorf("steps %s", s)
	}
}

// A cancel that commits before the end of the job is in time as well.
func TestCancelBeforeTheEnd(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, jobs.Migrations)
	var d diary
	h := d.handler(d.step("a", nil))
	h.Done = func(context.Context, pgx.Tx, *jobs.Run, args) error {
		cancelKey(t, pool, "k")
		return nil
	}
	r, stop := start(t, pool, slow, h)
	j := wait(t, pool, enqueue(t, pool, r, "k").ID)
	stop()
	if j.State != jobs.Canceled || d.String() != "+a -a failed:CANCELED" {
		t.Errorf("%s: %s", j.State, &d)
	}
}

// Whenever a cancel comes, a job ends in exactly one way: done with nothing undone, or canceled with everything undone.
func TestCancelRacesWithTheEnd(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, jobs.Migrations)
	const n = 120
	books := make([]diary, n)
	h := books[0].handler()
	by := func(a args) (d *diary) {
		var i int
		_, _ = fmt.Sscan(a.Name, &i)
		return &books[i]
	}
	pause := func(ctx context.Context) {
		select {
		case <-ctx.Done():
		case <-time.After(rand.N(4 * time.Millisecond)):
		}
	}
	for _, name := range []string{"a", "b"} {
		h.Steps = append(h.Steps, jobs.Step[args]{
			Name: name,
			Do:   func(ctx context.Context, _ *jobs.Run, a args) error { by(a).add("+%s", name); pause(ctx); return nil },
			Undo: func(_ context.Context, _ *jobs.Run, a args) error { by(a).add("-%s", name); return nil },
		})
	}
	h.Done, h.Failed = nil, nil
	r, stop := start(t, pool, slow, h)
	var wg sync.WaitGroup
	next := make(chan int)
	for range 6 {
		wg.Go(func() {
			for i := range next {
				j := enqueue(t, pool, r, fmt.Sprint(i))
				<-time.After(rand.N(15 * time.Millisecond)) // any moment of its life
				asked := cancelKey(t, pool, fmt.Sprint(i))
				r.Poke()
				got := wait(t, pool, j.ID)
				switch s := books[i].String(); {
				case got.State == jobs.Done && asked == 0 && s == "+a +b":
				case got.State == jobs.Canceled && asked == 1 && (s == "" || s == "+a -a" || s == "+a +b -b -a"):
				default:
					t.Errorf("%s, %d asked: %q", got.State, asked, s)
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
	stop()
}
