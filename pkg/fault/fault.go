// Package fault is the only error that crosses a boundary between services.
//
// A Fault says what went wrong in three ways: Code is gRPC's coarse class, Reason a stable word that dialects map to
// their own numbers, Msg a text for the caller. Field, Violations and Scope name the parts of the request at fault and
// the missing right apart from the text, so each dialect spells them its own way. The cause (SQL, paths, host names)
// travels beside it by Wrap and is seen only by the log.
package fault

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
)

// Kinds of faults for every service. The kind of a rule of one service is defined beside the rule.
var (
	Invalid         = New(codes.InvalidArgument, "INVALID_ARGUMENT", "the request is not valid")
	NotFound        = New(codes.NotFound, "NOT_FOUND", "no such object")
	Conflict        = New(codes.AlreadyExists, "CONFLICT", "the object exists already")
	Unauthenticated = New(codes.Unauthenticated, "UNAUTHENTICATED", "authentication is required")
	Denied          = New(codes.PermissionDenied, "PERMISSION_DENIED", "not allowed")
	Unavailable     = New(codes.Unavailable, "UNAVAILABLE", "the service is not available, repeat the request later")
	// NotAsked is of a call that was never sent, because this process knows no way to who would answer. Unlike the other
	// kinds of Unavailable, NotAsked says nothing of the one that was not asked.
	NotAsked = New(codes.Unavailable, "NOT_ASKED", "there is no way from here to the service, repeat the request later")
	Internal = New(codes.Internal, "INTERNAL", "internal error")
)

// Fault is an error with a class, a stable reason and a message that may be shown to anyone.
type Fault struct {
	Code   codes.Code
	Reason string
	Msg    string
	// Field names the request field at fault, in the spelling of the proto; empty when the fault blames no field.
	// Msg does not repeat the name.
	Field string
	// Violations lists every field at fault when there are several. Field and Msg are those of the first.
	Violations []Violation
	// Scope names the scope that a refused caller lacks; empty for other faults.
	Scope string
	// RetryAfter is how long it makes sense to wait before another try; 0 when that is unknown.
	RetryAfter time.Duration

	cause error
}

// Violation is one field of a request that breaks a rule.
type Violation struct {
	Field  string
	Reason string // upper snake case; may be empty
	Msg    string
}

// New returns a kind of fault. Reason is upper snake case and must not change after a release.
func New(code codes.Code, reason, msg string) *Fault {
	return &Fault{Code: code, Reason: reason, Msg: msg}
}

// With returns a copy of the kind that carries this message.
func (f *Fault) With(format string, args ...any) *Fault {
	c := *f
	c.Msg = fmt.Sprintf(format, args...)
	return &c
}

// On returns a copy that blames this field of the request.
func (f *Fault) On(field string) *Fault {
	c := *f
	c.Field = field
	return &c
}

// Breaks returns a copy that lists the fields at fault. The first one is also its Field and Msg, for dialects that show
// only one.
func (f *Fault) Breaks(list ...Violation) *Fault {
	c := *f
	c.Violations = slices.Clone(list)
	if len(list) > 0 {
		c.Field, c.Msg = list[0].Field, list[0].Msg
	}
	return &c
}

// Requires returns a copy that names the scope which the caller lacks.
func (f *Fault) Requires(scope string) *Fault {
	c := *f
	c.Scope = scope
	return &c
}

// After returns a copy that says how long to wait before another try.
func (f *Fault) After(d time.Duration) *Fault {
	c := *f
	c.RetryAfter = d
	return &c
}

// Wrap returns a copy that carries the cause for the log. The cause is never sent.
func (f *Fault) Wrap(err error) *Fault {
	c := *f
	c.cause = err
	return &c
}

// Error returns field, message and cause, for logs.
func (f *Fault) Error() string {
	if f.cause != nil {
		return f.Text() + ": " + f.cause.Error()
	}
	return f.Text()
}

// Text returns the message with the name of the field in front. It is for readers that have no place for the field.
func (f *Fault) Text() string {
	if f.Field != "" {
		return f.Field + ": " + f.Msg
	}
	return f.Msg
}

// Unwrap returns the cause.
func (f *Fault) Unwrap() error { return f.cause }

// Is reports whether target is a fault of the same kind, whatever its message.
func (f *Fault) Is(target error) bool {
	t, ok := target.(*Fault)
	return ok && t.Reason == f.Reason && t.Code == f.Code
}

// From finds the fault in err's chain. It understands faults of this process and, as gRPC statuses, those that a
// client call brought back. The second result is false when err is neither: then it is an internal error.
func From(err error) (*Fault, bool) {
	if f, ok := errors.AsType[*Fault](err); ok {
		return f, true
	}
	return fromStatus(err)
}
