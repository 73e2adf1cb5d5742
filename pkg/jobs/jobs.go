// Package jobs keeps promises to change the world. A job is a row that commits together with the wish it serves; runners
// carry it out step by step, survive any crash, and take everything back when it cannot be done.
package jobs

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/pg"
)

//go:embed migrations/*.sql
var files embed.FS

// Migrations makes the tables job and job_step.
var Migrations = pg.Line{Name: "jobs", FS: files}

// State is where a job is in its life. The last three are final.
type State string

// A job is queued until a worker takes it, and again between two attempts.
const (
	Queued   State = "queued"
	Running  State = "running"
	Undoing  State = "undoing"
	Done     State = "done"
	Failed   State = "failed"
	Canceled State = "canceled"
)

// Finished reports whether the state is final.
func (s State) Finished() bool { return s == Done || s == Failed || s == Canceled }

// New is a job to be made. Jobs of one key run one at a time, in the order of their ids.
type New struct {
	Kind, Key string
	Args      any // encoded as JSON; nil is {}
	// AccountID and CreatedBy say who asked; zero and "" are the system itself.
	AccountID int32
	CreatedBy string
	RequestID string
	RunAt     time.Time // zero is now
}

// Job is a job as it stands. Error and Reason are those of the last failed attempt and may be shown to the client.
type Job struct {
	ID              int32
	UUID            uuid.UUID // names the job among those of all services
	Kind, Key       string
	Args            json.RawMessage
	State           State
	Attempt         int
	CancelRequested bool
	Reason, Error   string
	AccountID       int32
	CreatedBy       string
	RequestID       string
	RunAt           time.Time
	CreatedAt       time.Time
	StartedAt       *time.Time
	FinishedAt      *time.Time
}

// StepState is how far one step is.
type StepState string

// A step that is started may have been carried out wholly, partly or not at all.
const (
	StepStarted StepState = "started"
	StepDone    StepState = "done"
	StepUndone  StepState = "undone"
)

// StepRecord is what is known of one step of a job.
type StepRecord struct {
	Seq        int
	Name       string
	State      StepState
	StartedAt  time.Time
	FinishedAt *time.Time
	Error      string
}

const jobColumns = `id, uuid, kind, key, args, state, attempt, cancel_requested, reason, error,
	coalesce(account_id, 0) AS account_id, created_by, request_id, run_at, created_at, started_at, finished_at`

const unfinished = `state IN ('queued', 'running', 'undoing')`

// Enqueue makes a job in the caller's transaction. Wake the runner with Poke once that has committed.
//
// Ids of one key rise in the order of commits: the transaction holds a lock of the key until its end. Without it a
// later job could be claimed while an earlier one is not visible yet.
func Enqueue(ctx context.Context, tx pgx.Tx, n New) (Job, error) {
	args := []byte("{}")
	if n.Args != nil {
		var err error
		if args, err = json.Marshal(n.Args); err != nil {
			return Job{}, fmt.Errorf("args of job %s: %w", n.Kind, err)
		}
	}
	var runAt, account any
	if !n.RunAt.IsZero() {
		runAt = n.RunAt
	}
	if n.AccountID != 0 {
		account = n.AccountID
	}
	rows, err := tx.Query(ctx, `
		WITH l AS MATERIALIZED (
			SELECT pg_advisory_xact_lock(hashtextextended('job ' || current_schema() || ' ' || $2, 0)))
		INSERT INTO job (kind, key, args, run_at, account_id, created_by, request_id)
		SELECT $1, $2, $3, coalesce($4::timestamptz, now()), $5::integer, $6, $7 FROM l
		RETURNING `+jobColumns, n.Kind, n.Key, args, runAt, account, n.CreatedBy, n.RequestID)
	if err != nil {
		return Job{}, err
	}
	j, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Job])
	if err != nil {
		return Job{}, fmt.Errorf("enqueue %s: %w", n.Kind, err)
	}
	return j, nil
}

// Cancel ends all unfinished jobs of a key and returns how many it touched. One that never ran is canceled at once, and
// its Failed is not called: there is nothing to take back, and the caller's transaction knows what its rows need. One that
// ran is asked to stop: its runner sees that within two seconds (at once when poked), undoes what was done, calls
// Failed and ends it canceled. One that is undone already goes on and ends as it would have.
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

// Get returns one job.
func Get(ctx context.Context, db pg.DB, id int32) (Job, error) {
	rows, err := db.Query(ctx, `SELECT `+jobColumns+` FROM job WHERE id = $1`, id)
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
	rows, err := db.Query(ctx, `
		SELECT seq, name, state, started_at, finished_at, error
		FROM job_step WHERE job_id = $1 ORDER BY seq`, id)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByName[StepRecord])
}

// Pending returns the unfinished jobs of a key, first the one whose turn it is.
func Pending(ctx context.Context, db pg.DB, key string) ([]Job, error) {
	rows, err := db.Query(ctx, `SELECT `+jobColumns+` FROM job WHERE key = $1 AND `+unfinished+` ORDER BY id`, key)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByName[Job])
}

// Wait returns the job once it is finished.
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
