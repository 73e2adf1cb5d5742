package jobs

import (
	"errors"

	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/jobs/internal/backend"
)

// ErrCanceled and ErrLeaseLost are the causes (context.Cause) with which the context of a step ends early. ErrCanceled is
// also the fault of a canceled job.
var (
	ErrCanceled  = backend.ErrCanceled
	ErrLeaseLost = backend.ErrLeaseLost
)

// The faults with which a job fails, beside those of its own steps.
var (
	errLost    = fault.New(codes.Internal, "WORKER_DIED", "the workers that ran the task died repeatedly")
	errPanic   = fault.New(codes.Internal, "PANIC", "internal error")
	errKind    = fault.New(codes.Unimplemented, "UNKNOWN_KIND", "this kind of task is not known")
	errArgs    = fault.New(codes.Internal, "BAD_ARGS", "the task cannot be read")
	errTooLong = fault.New(codes.DeadlineExceeded, "TASK_TIMEOUT", "the task ran longer than tasks of its kind may")
	errTimeout = fault.New(codes.DeadlineExceeded, "STEP_TIMEOUT", "a step of the task took too long")
)

// Permanent marks err as one that a retry cannot heal.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return permanent{err}
}

type permanent struct{ error }

func (p permanent) Unwrap() error { return p.error }

// isPermanent reports whether a retry is pointless: err is marked Permanent, or its fault blames the request itself.
func isPermanent(err error) bool {
	if _, ok := errors.AsType[permanent](err); ok {
		return true
	}
	f, ok := fault.From(err)
	if !ok {
		return false
	}
	switch f.Code {
	case codes.InvalidArgument, codes.FailedPrecondition, codes.NotFound, codes.AlreadyExists, codes.ResourceExhausted,
		codes.PermissionDenied, codes.Unimplemented, codes.OutOfRange:
		return true
	}
	return false
}

// public returns the part of err that a client may see.
func public(err error) *fault.Fault {
	if f, ok := fault.From(err); ok {
		return f
	}
	return fault.Internal.Wrap(err)
}
