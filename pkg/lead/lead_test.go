package lead_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"slipway.dev/pkg/lead"
	"slipway.dev/pkg/pg/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

var quiet = slog.New(slog.DiscardHandler)

// start runs a process with these duties until the test ends, or the returned func is called.
func start(t *testing.T, pool *pgxpool.Pool, duties ...lead.Duty) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- lead.Run(ctx, pool, quiet, duties...) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// within fails the test unless c gets a value in time.
func within[T any](t *testing.T, what string, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(2 * time.Minute):
		t.Fatalf("%s: not within two minutes", what)
	}
	return v
}

func pidOf(ctx context.Context, l *lead.Leader) (pid uint32, err error) {
	err = l.Do(ctx, func(_ context.Context, conn *pgxpool.Conn) error {
		pid = conn.Conn().PgConn().PID()
		return nil
	})
	return pid, err
}

// TestOneOfTwoLeads checks that one of two processes leads, with all duties on one connection, and that the other takes over
// when that connection dies.
func TestOneOfTwoLeads(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	var leading atomic.Int32
	pids := make(chan uint32, 99)
	duty := func(name string) lead.Duty {
		return lead.Duty{Name: name, Run: func(ctx context.Context, l *lead.Leader) error {
			if leading.Add(1) > 2 {
				t.Error("two processes lead")
			}
			defer leading.Add(-1)
			pid, err := pidOf(ctx, l)
			pids <- pid
			for err == nil {
				err = l.Do(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
					_, err := c.Exec(ctx, `SELECT pg_sleep(0.01)`)
					return err
				})
			}
			return err
		}}
	}
	for range 2 {
		start(t, pool, duty("a"), duty("b"))
	}
	first := within(t, "a leader", pids)
	if second := within(t, "its other duty", pids); second != first {
		t.Error("two duties of one leader use two connections")
	}
	if _, err := pool.Exec(t.Context(), `SELECT pg_terminate_backend($1)`, first); err != nil {
		t.Error(err)
	}
	if within(t, "another leader", pids) == first {
		t.Error("a dead connection leads")
	}
}

// TestAnOldProcessKeepsItsDuty: a process of an earlier version leads one duty, so that a new one leads none.
func TestAnOldProcessKeepsItsDuty(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	began := make(chan string, 9)
	duty := func(name, who string) lead.Duty {
		return lead.Duty{Name: name, Run: func(ctx context.Context, _ *lead.Leader) error {
			began <- who
			<-ctx.Done()
			return nil
		}}
	}
	stop := start(t, pool, duty("a", "old"))
	if who := within(t, "the old one", began); who != "old" {
		t.Fatal(who)
	}
	start(t, pool, duty("b", "new"), duty("a", "new"))
	select {
	case who := <-began:
		t.Errorf("%s leads beside the old one", who)
	case <-time.After(2 * time.Second):
	}
	stop()
	within(t, "the new one", began)
}

// TestFailingDutyStopsNoOther checks that neither an error nor a panic of one duty stops another, or moves the lead.
func TestFailingDutyStopsNoOther(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	failures, ticks := make(chan int, 99), make(chan uint32, 999)
	var n atomic.Int32
	start(t, pool,
		lead.Duty{Name: "fails", Run: func(context.Context, *lead.Leader) error {
			failures <- int(n.Add(1))
			if n.Load() == 2 {
				panic("second")
			}
			return errors.New("first")
		}},
		lead.Duty{Name: "works", Run: func(ctx context.Context, l *lead.Leader) error {
			for {
				pid, err := pidOf(ctx, l)
				if err != nil {
					return err
				}
				select {
				case ticks <- pid:
				case <-ctx.Done():
					return nil
				}
			}
		}})
	first := within(t, "work", ticks)
	for range 3 {
		within(t, "a failure", failures)
	}
	for range 1000 {
		if within(t, "work", ticks) != first {
			t.Fatal("the lead moved")
		}
	}
}

// TestHungDutyHoldsOthersUpForABoundedTime makes one duty wait for a row that stays locked; the other must work in between.
func TestHungDutyHoldsOthersUpForABoundedTime(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	ctx := t.Context()
	if _, err := pool.Exec(ctx, `CREATE TABLE row AS SELECT 1 AS n`); err != nil {
		t.Fatal(err)
	}
	tx, err := pool.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.Background()) }()
	if _, err := tx.Exec(ctx, `SELECT n FROM row FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	hung, worked := make(chan error, 99), make(chan uint32, 1)
	start(t, pool,
		lead.Duty{Name: "hangs", Run: func(ctx context.Context, l *lead.Leader) error {
			hung <- nil
			err := l.InTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
				_, err := tx.Exec(ctx, `SELECT n FROM row FOR UPDATE`)
				return err
			})
			hung <- err
			return err
		}},
		lead.Duty{Name: "works", Run: func(ctx context.Context, l *lead.Leader) error {
			for {
				pid, err := pidOf(ctx, l)
				if err != nil {
					return err
				}
				select {
				case worked <- pid:
				case <-ctx.Done():
					return nil
				}
			}
		}})
	first := within(t, "work", worked)
	within(t, "the duty that hangs", hung)
	if err := within(t, "its end", hung); err == nil {
		t.Error("the row was not locked")
	}
	for range 2 { // the one that was ready before, and one that was not
		if within(t, "work beside a duty that hangs", worked) != first {
			t.Error("the lead moved")
		}
	}
}

// TestEndOfADutysContextLeavesTheConnection: a consumer that begins anew costs the others nothing.
func TestEndOfADutysContextLeavesTheConnection(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	pids := make(chan uint32, 99)
	start(t, pool, lead.Duty{Name: "a", Run: func(term context.Context, l *lead.Leader) error {
		pid, err := pidOf(term, l)
		pids <- pid
		short, stop := context.WithCancel(term)
		defer stop()
		return errors.Join(err, l.Do(short, func(ctx context.Context, c *pgxpool.Conn) error {
			stop()
			_, err := c.Exec(ctx, `SELECT 1`)
			if err != nil && term.Err() == nil {
				t.Errorf("broken off: %v", err)
			}
			return err
		}))
	}})
	first := within(t, "work", pids)
	if within(t, "work", pids) != first {
		t.Error("the lead moved")
	}
}
