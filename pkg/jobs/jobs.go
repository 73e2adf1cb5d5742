// Package jobs is a queue of work in PostgreSQL. A job is a row that commits together with the change that needs it; runners
// carry the job out step by step, survive any crash, and undo all steps if the job cannot be done.
package jobs

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/jobs/internal/backend"
	"slipway.dev/pkg/jobs/internal/tables"
	"slipway.dev/pkg/pg"
)

//go:embed migrations/*.sql
var files embed.FS

// Migrations makes the tables job and job_step.
var Migrations = pg.Line{Name: "jobs", FS: files}

// State is the state of a job. The last three are final.
type State = backend.State

// A job is queued until a worker takes it, and again between two attempts.
const (
	Queued   = backend.Queued
	Running  = backend.Running
	Undoing  = backend.Undoing
	Done     = backend.Done
	Failed   = backend.Failed
	Canceled = backend.Canceled
)

// Job is a row of the queue. Error and Reason are those of the last failed attempt and may be shown to the client.
type Job = backend.Job

// StepRecord is the record of one step of a job.
type StepRecord = backend.StepRecord

// New describes a job for Enqueue. Jobs of one key run one at a time, in the order of their ids.
type New struct {
	Kind, Key string
	Args      any // encoded as JSON; nil is {}
	// AccountID and CreatedBy name the account that asked for the job; zero and "" are the system itself.
	AccountID int32
	CreatedBy string
	// NodeID is the node that the steps work on; zero is none. See Config.NodeShare.
	NodeID    int32
	RequestID string
	RunAt     time.Time // zero is now
}

// Enqueue makes a job in the caller's transaction. Wake the runner with Poke once the transaction has committed.
//
// Ids of one key rise in the order of commits: the transaction holds a lock of the key until its end. Without the lock a
// later job could be claimed while an earlier one is not visible yet.
func Enqueue(ctx context.Context, tx pgx.Tx, n New) (Job, error) {
	args := []byte("{}")
	if n.Args != nil {
		var err error
		if args, err = json.Marshal(n.Args); err != nil {
			return Job{}, fmt.Errorf("args of job %s: %w", n.Kind, err)
		}
	}
	var runAt, account, node any
	if !n.RunAt.IsZero() {
		runAt = n.RunAt
	}
	if n.AccountID != 0 {
		account = n.AccountID
	}
	if n.NodeID != 0 {
		node = n.NodeID
	}
	rows, err := tx.Query(ctx, `
		WITH l AS MATERIALIZED (
			SELECT pg_advisory_xact_lock(hashtextextended('job ' || current_schema() || ' ' || $2, 0)))
		INSERT INTO job (kind, key, args, run_at, account_id, node_id, created_by, request_id)
		SELECT $1, $2, $3, coalesce($4::timestamptz, now()), $5::integer, $6::integer, $7, $8 FROM l
		RETURNING `+tables.Columns, n.Kind, n.Key, args, runAt, account, node, n.CreatedBy, n.RequestID)
	if err != nil {
		return Job{}, err
	}
	j, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Job])
	if err != nil {
		return Job{}, fmt.Errorf("enqueue %s: %w", n.Kind, err)
	}
	return j, nil
}

// Cancel cancels all unfinished jobs of a key and returns how many it changed. A job that never ran is canceled at once,
// without a call of its Failed: there is nothing to undo, and the caller's transaction knows what its rows need. A job that
// ran is asked to stop: its runner sees the request within two seconds (at once when poked), undoes the steps, calls Failed
// and marks the job canceled. A job that is being undone already is left alone.
func Cancel(ctx context.Context, tx pgx.Tx, key string) (int, error) {
	tag, err := tx.Exec(ctx, `
		UPDATE job SET
			cancel_requested = true,
			state       = CASE WHEN started_at IS NULL THEN 'canceled' ELSE state END,
			finished_at = CASE WHEN started_at IS NULL THEN now() END,
			code        = CASE WHEN started_at IS NULL THEN $2 ELSE code END,
			reason      = CASE WHEN started_at IS NULL THEN $3 ELSE reason END,
			error       = CASE WHEN started_at IS NULL THEN $4 ELSE error END,
			run_at      = least(run_at, now())
		WHERE key = $1 AND state IN ('queued', 'running') AND NOT cancel_requested`,
		key, ErrCanceled.Code, ErrCanceled.Reason, ErrCanceled.Msg)
	if err != nil {
		return 0, fmt.Errorf("cancel jobs: %w", err)
	}
	return int(tag.RowsAffected()), nil
}

// Stop asks one job to end, and returns false if the job is over or ends already. Other than Cancel, it leaves everything to the
// runner, also for a job that never ran: when its turn comes, Failed is called and the job is canceled.
func Stop(ctx context.Context, tx pgx.Tx, id int32) (bool, error) {
	tag, err := tx.Exec(ctx, `
		UPDATE job SET cancel_requested = true, run_at = least(run_at, now())
		WHERE id = $1 AND state IN ('queued', 'running') AND NOT cancel_requested`, id)
	if err != nil {
		return false, fmt.Errorf("stop job: %w", err)
	}
	return tag.RowsAffected() > 0, nil
}

// Get returns one job.
func Get(ctx context.Context, db pg.DB, id int32) (Job, error) {
	rows, err := db.Query(ctx, `SELECT `+tables.Columns+` FROM job WHERE id = $1`, id)
	if err != nil {
		return Job{}, err
	}
	j, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Job])
	if errors.Is(err, pgx.ErrNoRows) {
		return Job{}, fault.NotFound.With("no task %d", id)
	}
	return j, err
}

// Steps returns the steps of a job in the order in which they were started.
func Steps(ctx context.Context, db pg.DB, id int32) ([]StepRecord, error) {
	return tables.Steps(ctx, db, id)
}

// Wait waits until the job is finished and returns it.
func Wait(ctx context.Context, db pg.DB, id int32) (Job, error) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		j, err := Get(ctx, db, id)
		if err != nil || j.State.Finished() {
			return j, err
		}
		select {
		case <-ctx.Done():
			return j, fmt.Errorf("job %d is %s: %w", id, j.State, ctx.Err())
		case <-tick.C:
		}
	}
}
