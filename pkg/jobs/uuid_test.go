package jobs_test

import (
	"io/fs"
	"testing"
	"testing/fstest"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/jobs"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/pg/pgtest"
)

// TestJobsHaveUUIDs checks that jobs made before the migration, and new jobs, get different UUIDs.
func TestJobsHaveUUIDs(t *testing.T) {
	t.Parallel()
	before := fstest.MapFS{}
	err := fs.WalkDir(jobs.Migrations.FS, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path >= "migrations/0005" {
			return err
		}
		text, err := fs.ReadFile(jobs.Migrations.FS, path)
		before[path] = &fstest.MapFile{Data: text}
		return err
	})
	if err != nil || len(before) < 3 {
		t.Fatalf("%d migrations before the one tested: %v", len(before), err)
	}
	pool := pgtest.New(t, pg.Line{Name: jobs.Migrations.Name, FS: before})
	if _, err := pool.Exec(t.Context(), `INSERT INTO job (kind, key, args) SELECT 'k', 'old', '{}' FROM generate_series(1, 100)`); err != nil {
		t.Fatal(err)
	}
	if err := pg.Migrate(t.Context(), pool, jobs.Migrations); err != nil {
		t.Fatal(err)
	}
	var made jobs.Job
	if err := pg.InTx(t.Context(), pool, func(tx pgx.Tx) (err error) {
		made, err = jobs.Enqueue(t.Context(), tx, jobs.New{Kind: "k", Key: "new"})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	got, err := jobs.Get(t.Context(), pool, made.ID)
	if err != nil || got.UUID == uuid.Nil || got.UUID != made.UUID {
		t.Errorf("made with UUID %s, read with %s: %v", made.UUID, got.UUID, err)
	}
	var n int
	if err := pool.QueryRow(t.Context(), `SELECT count(DISTINCT uuid) FROM job`).Scan(&n); err != nil || n != 101 {
		t.Errorf("%d UUIDs of 101 jobs: %v", n, err)
	}
}
