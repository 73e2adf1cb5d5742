package vm_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// TestCreateLocksLate: all hosts of an account, and all on a node, pass through one row each. A create locks both with its last
// round trip before the commit, so that others wait for nothing but that.
func TestCreateLocksLate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cfg := w.deps.Pool.Config()
	trace := &trips{of: map[*pgx.Conn][][]string{}}
	cfg.ConnConfig.Tracer = trace
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	w.deps.Pool = pool
	w.start()
	w.create(w.admin(), wish("web1"))
	trips := trace.unitWith("INSERT INTO host ")
	lock := slices.IndexFunc(trips, func(trip []string) bool {
		return slices.ContainsFunc(trip, func(sql string) bool {
			return strings.Contains(sql, "UPDATE node") || strings.Contains(sql, "INSERT INTO account_usage")
		})
	})
	if lock < 0 || lock != len(trips)-2 || trips[lock+1][0] != "commit" {
		t.Errorf("rows are locked in round trip %d of %d: %q", lock+1, len(trips), trips)
	}
	if len(trips) > 5 {
		t.Errorf("%d round trips: %q", len(trips), trips)
	}
}

// trips are the round trips of connections: each is a statement, or those that were sent together.
type trips struct {
	mu sync.Mutex
	of map[*pgx.Conn][][]string
}

func (t *trips) add(c *pgx.Conn, trip []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.of[c] = append(t.of[c], trip)
}

func (t *trips) TraceQueryStart(ctx context.Context, c *pgx.Conn, d pgx.TraceQueryStartData) context.Context {
	t.add(c, []string{d.SQL})
	return ctx
}

func (t *trips) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (t *trips) TraceBatchStart(ctx context.Context, c *pgx.Conn, d pgx.TraceBatchStartData) context.Context {
	var trip []string
	for _, q := range d.Batch.QueuedQueries {
		trip = append(trip, q.SQL)
	}
	t.add(c, trip)
	return ctx
}

func (t *trips) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}
func (t *trips) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData)     {}

// unitWith returns the round trips of the unit of work that has a statement, from begin to commit.
func (t *trips) unitWith(sql string) [][]string {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, all := range t.of {
		at := slices.IndexFunc(all, func(trip []string) bool { return strings.Contains(trip[0], sql) })
		if at < 0 {
			continue
		}
		begin, end := at, at
		for all[begin][0] != "begin" {
			begin--
		}
		for all[end][0] != "commit" {
			end++
		}
		return all[begin : end+1]
	}
	return nil
}
