package fault

import (
	"context"
	"errors"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"
)

const (
	// domain marks an ErrorInfo as ours.
	domain = "slipway"
	// scopeKey is the key of Fault.Scope in the metadata of an ErrorInfo.
	scopeKey = "scope"
)

// Status converts any error into a status that may leave the process: a fault keeps its parts, a canceled or late call its
// code, and every other error becomes an internal error without a text.
func Status(err error) *status.Status {
	if err == nil {
		return nil
	}
	f, ok := From(err)
	switch {
	case ok:
	case errors.Is(err, context.Canceled):
		f = &Fault{Code: codes.Canceled, Reason: "CANCELED", Msg: "the caller went away"}
	case errors.Is(err, context.DeadlineExceeded):
		f = &Fault{Code: codes.DeadlineExceeded, Reason: "DEADLINE_EXCEEDED", Msg: "the request took too long"}
	default:
		f = Internal
	}
	st := status.New(f.Code, f.Msg)
	if with, err := st.WithDetails(f.details()...); err == nil {
		return with
	}
	return st
}

// details returns the parts of f for which Google's error model has standard messages: reason and scope, fields, wait.
func (f *Fault) details() []protoadapt.MessageV1 {
	info := &errdetails.ErrorInfo{Reason: f.Reason, Domain: domain}
	if f.Scope != "" {
		info.Metadata = map[string]string{scopeKey: f.Scope}
	}
	list := []protoadapt.MessageV1{info}
	if bad := f.badRequest(); bad != nil {
		list = append(list, bad)
	}
	if f.RetryAfter > 0 {
		list = append(list, &errdetails.RetryInfo{RetryDelay: durationpb.New(f.RetryAfter)})
	}
	return list
}

func (f *Fault) badRequest() *errdetails.BadRequest {
	violations := f.Violations
	if len(violations) == 0 && f.Field != "" {
		violations = []Violation{{Field: f.Field, Msg: f.Msg}}
	}
	if len(violations) == 0 {
		return nil
	}
	bad := &errdetails.BadRequest{}
	for _, v := range violations {
		bad.FieldViolations = append(bad.FieldViolations,
			&errdetails.BadRequest_FieldViolation{Field: v.Field, Reason: v.Reason, Description: v.Msg})
	}
	return bad
}

// blame sets Field, and Violations unless the only violation repeats Field and Msg.
func (f *Fault) blame(bad *errdetails.BadRequest) {
	for _, v := range bad.GetFieldViolations() {
		f.Violations = append(f.Violations, Violation{Field: v.GetField(), Reason: v.GetReason(), Msg: v.GetDescription()})
	}
	if len(f.Violations) == 0 {
		return
	}
	f.Field = f.Violations[0].Field
	if len(f.Violations) == 1 && f.Violations[0] == (Violation{Field: f.Field, Msg: f.Msg}) {
		f.Violations = nil
	}
}

// fromStatus reads a fault back from a gRPC status. Statuses of gRPC itself (connection lost, unknown method) have no
// ErrorInfo of ours: only the transient one keeps its meaning, and none keeps its text, which may name hosts.
func fromStatus(err error) (*Fault, bool) {
	if _, isStatus := errors.AsType[interface {
		error
		GRPCStatus() *status.Status
	}](err); !isStatus {
		return nil, false
	}
	st, _ := status.FromError(err)
	var ours *Fault
	var wait *errdetails.RetryInfo
	var bad *errdetails.BadRequest
	for _, d := range st.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			if d.GetDomain() == domain {
				ours = &Fault{
					Code: st.Code(), Reason: d.GetReason(), Msg: statusMessage(err, st), Scope: d.GetMetadata()[scopeKey],
				}
			}
		case *errdetails.RetryInfo:
			wait = d
		case *errdetails.BadRequest:
			bad = d
		}
	}
	if ours != nil {
		ours.blame(bad)
		ours.RetryAfter = wait.GetRetryDelay().AsDuration()
		return ours, true
	}
	switch st.Code() {
	case codes.Unavailable:
		return Unavailable.Wrap(err), true
	case codes.Canceled, codes.DeadlineExceeded:
		return &Fault{Code: st.Code(), Reason: "INTERRUPTED", Msg: "the request was interrupted", cause: err}, true
	default:
		return nil, false
	}
}

// statusMessage returns the message of the status itself, without the text of the errors that wrap it, which status.FromError
// puts in front.
func statusMessage(err error, st *status.Status) string {
	if g, ok := errors.AsType[interface {
		error
		GRPCStatus() *status.Status
	}](err); ok {
		return g.GRPCStatus().Message()
	}
	return st.Message()
}
