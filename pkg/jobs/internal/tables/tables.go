// Package tables is the backend of jobs in the tables job and job_step of PostgreSQL.
package tables

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"slipway.dev/pkg/jobs/internal/backend"
	"slipway.dev/pkg/pg"
)

// Columns are those of a backend.Job.
const Columns = `id, uuid, kind, key, args, state, attempt, cancel_requested, reason, error,
	coalesce(account_id, 0) AS account_id, coalesce(node_id, 0) AS node_id, created_by, request_id,
	run_at, created_at, started_at, finished_at`

// Unfinished is true for jobs that are not over.
const Unfinished = `state IN ('queued', 'running', 'undoing')`

// Tables is a backend.Backend. Every write is guarded by id and fence: a runner that lost its lease changes nothing.
type Tables struct{ pool *pgxpool.Pool }

// New returns the backend in the schema of pool.
func New(pool *pgxpool.Pool) Tables { return Tables{pool} }

// InTx runs fn in one transaction.
func (t Tables) InTx(ctx context.Context, fn func(pgx.Tx) error) error {
	return pg.InTx(ctx, t.pool, fn)
}

// Steps returns the steps of a job in the order in which they were started.
func (t Tables) Steps(ctx context.Context, job int32) ([]backend.StepRecord, error) {
	return Steps(ctx, t.pool, job)
}

// Steps returns the steps of a job in the order in which they were started.
func Steps(ctx context.Context, db pg.DB, job int32) ([]backend.StepRecord, error) {
	rows, err := db.Query(ctx, `
		SELECT seq, name, state, started_at, finished_at, error
		FROM job_step WHERE job_id = $1 ORDER BY seq`, job)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByName[backend.StepRecord])
}

// Prune removes up to batch jobs that finished longer ago than keep. It skips rows that other runners are removing.
func (t Tables) Prune(ctx context.Context, keep time.Duration, batch int) (int64, error) {
	tag, err := t.pool.Exec(ctx, `
		DELETE FROM job WHERE id IN (
			SELECT id FROM job WHERE finished_at < now() - $1::interval
			ORDER BY finished_at LIMIT $2 FOR UPDATE SKIP LOCKED)`, keep, batch)
	if err != nil {
		return 0, fmt.Errorf("prune: %w", err)
	}
	return tag.RowsAffected(), nil
}

// lostIfNone turns "no row" into ErrLeaseLost: the statement's guard is the lease.
func lostIfNone(err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return backend.ErrLeaseLost
	}
	return err
}

// lostIfZero returns ErrLeaseLost if a statement guarded by the lease found no row.
func lostIfZero(tag pgconn.CommandTag, err error) error {
	if err == nil && tag.RowsAffected() == 0 {
		return backend.ErrLeaseLost
	}
	return err
}
