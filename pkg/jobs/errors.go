package jobs

import (
	"errors"

	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/fault"
)

// Why a job ended badly, beside the faults of its own steps. ErrCanceled and ErrLeaseLost are also the causes
// (context.Cause) with which the context of a step ends early.
var (
	ErrCanceled = fault.New(codes.Canceled, "CANCELED", "the task was canceled")
	ErrLost     = fault.New(codes.Internal, "WORKER_DIED", "the workers that ran the task died repeatedly")
	ErrPanic    = fault.New(codes.Internal, "PANIC", "internal error")
	ErrKind     = fault.New(codes.Unimplemented, "UNKNOWN_KIND", "this kind of task is not known")
	ErrArgs     = fault.New(codes.Internal, "BAD_ARGS", "the task cannot be read")
	ErrTimeout  = fault.New(codes.DeadlineExceeded, "STEP_TIMEOUT", "a step of the task took too long")

	ErrLeaseLost = errors.New("the lease of the job is lost")
)

// Permanent marks an error that no retry will heal.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return permanent{err}
}

type permanent struct{ error }

func (p permanent) Unwrap() error { return p.error }

// IsPermanent reports whether a retry is pointless: err was marked so, or its fault says that the request itself is wrong.
func IsPermanent(err error) bool {
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

// public is the part of err that a client may see.
func public(err error) *fault.Fault {
	if f, ok := fault.From(err); ok {
		return f
	}
	return fault.Internal.Wrap(err)
}
