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
	// Claim leases due jobs.
	Claim(ctx context.Context, c Claim) ([]Claimed, error)
	// Explain gives the queued jobs of the nodes the error f to show, until their next attempt.
	Explain(ctx context.Context, nodes []int32, f *fault.Fault) error
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
	NodeID          int32 // the node that the job works on
	CreatedBy       string
	RequestID       string
	RunAt           time.Time
	CreatedAt       time.Time
	StartedAt       *time.Time
	FinishedAt      *time.Time
}

// Claim says which jobs a runner wants, and for whom.
type Claim struct {
	Limit int
	Name  string // of the holder of the leases
	Lease time.Duration
	// Kinds are those that the runner knows. A job of another kind is claimed once it was due for UnknownAfter.
	Kinds        []string
	UnknownAfter time.Duration
	Shares
}

// Shares bound what a claim takes, so that no account and no node gets all workers.
type Shares struct {
	Served int32   // the account that was served last: accounts take turns
	Pivot  int32   // a number, not below zero, from which it follows which node of an account is first
	Busy   []Party // the account and node of each busy worker
	// PerAccount, PerNode and PerBoth bound the workers of an account, of a node, and of an account on one node. Account 0
	// and node 0 are none and have no bound.
	PerAccount, PerNode, PerBoth int
	Shut                         []int32 // nodes of which no job is claimed
	Probed                       []int32 // nodes of which one job is claimed
}

// Party is whom a job is for: an account, a node.
type Party struct{ AccountID, NodeID int32 }

// Claimed is a job with what its runner needs besides.
type Claimed struct {
	Job
	Fence                  int64
	Failures, Panics, Lost int
	Code                   int  // of the fault that is the reason for the undo
	Fresh                  bool // the job never ran: it has no steps
	Turn                   int  // the place of the job in its claim
}

// Lease identifies one lease of one job.
type Lease struct {
	ID    int32
	Fence int64
}

// Party returns whom the job is for.
func (j Job) Party() Party { return Party{j.AccountID, j.NodeID} }

// LeaseState is the answer to Renew and Canceled for one lease.
type LeaseState struct {
	ID              int32
	CancelRequested bool
	Renewed         bool
}

// ErrNodeHangs is shown on jobs that wait because steps on their node time out.
var ErrNodeHangs = fault.New(codes.Unavailable, "NODE_HANGS",
	"the node does not carry out steps in time; the task waits until it does")

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
