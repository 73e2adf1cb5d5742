package jobs_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/jobs"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/pg/pgtest"
)

// TestReassign gives jobs to another account, by key or all of an account, and no others.
func TestReassign(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, jobs.Migrations)
	for i, account := range []int32{7, 7, 8, 9} {
		if err := pg.InTx(t.Context(), pool, func(tx pgx.Tx) error {
			_, err := jobs.Enqueue(t.Context(), tx, jobs.New{Kind: "work", Key: fmt.Sprint("k", i), AccountID: account})
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	away, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tt := range []struct {
		change func(ctx context.Context, tx pgx.Tx) error
		want   string
	}{
		{func(ctx context.Context, tx pgx.Tx) error { return jobs.Reassign(ctx, tx, 7, 5, []string{"k1", "k3"}) }, "7 5 8 9"},
		{func(ctx context.Context, tx pgx.Tx) error { return jobs.Reassign(ctx, tx, 5, 6, nil) }, "7 6 8 9"},
		{func(ctx context.Context, tx pgx.Tx) error { return jobs.Reassign(ctx, tx, 8, 6, []string{}) }, "7 6 8 9"},
	} {
		if err := pg.InTx(t.Context(), pool, func(tx pgx.Tx) error { return tt.change(t.Context(), tx) }); err != nil {
			t.Fatal(err)
		}
		var got string
		if err := pool.QueryRow(t.Context(), `SELECT string_agg(account_id::text, ' ' ORDER BY key) FROM job`).Scan(&got); err != nil || got != tt.want {
			t.Errorf("accounts %s, want %s: %v", got, tt.want, err)
		}
		if err := pg.InTx(t.Context(), pool, func(tx pgx.Tx) error { return tt.change(away, tx) }); err == nil {
			t.Error("no error from a database that is away")
		}
	}
}
