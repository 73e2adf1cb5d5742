package parts_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"slipway.dev/deploy/parts"
	"slipway.dev/pkg/pg"
)

func migrate(context.Context, *pgxpool.Pool) error { return nil }

// TestTwentyServicesFit: a table of 20 services with two replicas each fits 300 connections, and a table that does
// not fit reports how many it needs.
func TestTwentyServicesFit(t *testing.T) {
	t.Parallel()
	table := []parts.Part{{Name: "edge", Replicable: true}} // without a schema
	for n := range 20 {
		table = append(table, parts.Part{Name: fmt.Sprint("service", n), Replicable: true, Weight: 1 + n%5, Migrate: migrate})
	}
	sizes, err := pg.Budget(300, parts.Shares(table, 2))
	sum := 0
	for _, n := range sizes {
		sum += 2 * n
	}
	if err != nil || len(sizes) != 20 || sum > 290 {
		t.Errorf("%d connections in %v: %v", sum, sizes, err)
	}
	if _, err := pg.Budget(200, parts.Shares(table, 2)); err == nil || !strings.Contains(err.Error(), "max_connections=250") {
		t.Errorf("too few: %v", err)
	}
}

func TestAloneWhereNotReplicable(t *testing.T) {
	t.Parallel()
	shares := parts.Shares([]parts.Part{{Name: "a", Migrate: migrate, Weight: 3}, {Name: "b", Migrate: migrate, Replicable: true}}, 4)
	if shares["a"] != (pg.Share{Replicas: 1, Weight: 3}) || shares["b"].Replicas != 4 {
		t.Errorf("%v", shares)
	}
}

func TestConnectionsOfAURL(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"postgres://h/d":                    "postgres://h/d?pool_max_conns=7",
		"postgres://h/d?sslmode=disable":    "postgres://h/d?sslmode=disable&pool_max_conns=7",
		"postgres://h/d?pool_max_conns=100": "postgres://h/d?pool_max_conns=100",
		"host=h dbname=d":                   "host=h dbname=d pool_max_conns=7",
		"host=h pool_max_conns=100":         "host=h pool_max_conns=100",
	} {
		if got := parts.WithConns(url, 7); got != want {
			t.Errorf("%s: %s, want %s", url, got, want)
		}
	}
}
