// Package backend is what a runner of jobs needs of the place where jobs are stored, with the types that pass between them.
package backend

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/fault"
)

// ErrCanceled and ErrLeaseLost are also the causes (context.Cause) with which the context of a step ends early.
var (
	ErrCanceled  = fault.New(codes.Canceled, "CANCELED", "the task was canceled")
	ErrLeaseLost = errors.New("the lease of the job is lost")
)

// Backend stores jobs: in tables, or in memory for simulations. A method that takes a Lease returns ErrLeaseLost, and
// changes nothing, if the lease is no longer the job's.
type Backend interface {
	// Claim leases up to limit due jobs to name. A job of a kind not in kinds is claimed once it was due for unknownAfter.
	Claim(ctx context.Context, limit int, name string, lease time.Duration, kinds []string,
		unknownAfter time.Duration) ([]Claimed, error)
	// Steps returns the steps of a job in the order in which they were started.
	Steps(ctx context.Context, job int32) ([]StepRecord, error)
	// Advance records that the step with the number pending is done (0: none) and that next is started (nil: none). It
	// also renews the lease. If it returns canceled, next was not started.
	Advance(ctx context.Context, l Lease, lease time.Duration, pending int, next *StepRecord) (canceled bool, err error)
	// StartUndo makes the job undoing because of f, or, if it returns canceled, because of the cancel.
	StartUndo(ctx context.Context, l Lease, lease time.Duration, f *fault.Fault) (canceled bool, err error)
	// Undone records that the step seq is undone.
	Undone(ctx context.Context, l Lease, lease time.Duration, seq int) error
	// GiveUp marks the job failed, without an undo.
	GiveUp(ctx context.Context, l Lease, f *fault.Fault) error
	// Release puts the job back for a later attempt. The step current, if any, gets the error to show.
	Release(ctx context.Context, l Lease, current int, r Release) error

	// InTx runs fn in one transaction; Finish and Fail are called in it.
	InTx(ctx context.Context, fn func(pgx.Tx) error) error
	// Finish marks the job and its step pending done. It returns ErrCanceled if a cancel came first.
	Finish(ctx context.Context, tx pgx.Tx, l Lease, pending int) error
	// Fail marks the job, which is undone, failed or canceled.
	Fail(ctx context.Context, tx pgx.Tx, l Lease) error

	// Renew renews leases. A lease that is missing in the answer is lost.
	Renew(ctx context.Context, ids []int32, fences []int64, lease time.Duration) ([]LeaseState, error)
	// Canceled returns those of the leases whose job was asked to stop.
	Canceled(ctx context.Context, ids []int32, fences []int64) ([]LeaseState, error)
	// TakeOver ends all leases of name.
	TakeOver(ctx context.Context, name string) error
	// Prune removes up to batch jobs that finished longer ago than keep, and returns how many.
	Prune(ctx context.Context, keep time.Duration, batch int) (int64, error)
}

// State is the state of a job. The last three are final.
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

// Job is a row of the queue. Error and Reason are those of the last failed attempt and may be shown to the client.
type Job struct {
	ID              int32
	UUID            uuid.UUID // identifies the job among those of all services
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

// Claimed is a job with what its runner needs besides.
type Claimed struct {
	Job
	Fence                  int64
	Failures, Panics, Lost int
	Code                   int  // of the fault that is the reason for the undo
	Fresh                  bool // the job never ran: it has no steps
}

// Lease identifies one lease of one job.
type Lease struct {
	ID    int32
	Fence int64
}

// LeaseState is the answer to Renew and Canceled for one lease.
type LeaseState struct {
	ID              int32
	CancelRequested bool
	Renewed         bool
}

// Release says how a job is put back.
type Release struct {
	After                      time.Duration
	Fault                      *fault.Fault // to show until the next attempt; nil leaves the previous one
	Attempts, Failures, Panics int          // to add to the counters of the job
}

// StepState is the state of one step of a job.
type StepState string

// A step that is started may have been carried out wholly, partly or not at all.
const (
	StepStarted StepState = "started"
	StepDone    StepState = "done"
	StepUndone  StepState = "undone"
)

// StepRecord is the record of one step of a job.
type StepRecord struct {
	Seq        int
	Name       string
	State      StepState
	StartedAt  time.Time
	FinishedAt *time.Time
	Error      string
}
