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

// domain marks an ErrorInfo as ours.
const domain = "slipway"

// Status turns any error into what may leave the process: a fault as it is, a cancelled or late call as such,
// everything else as a bare internal error that says nothing.
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
	info := &errdetails.ErrorInfo{Reason: f.Reason, Domain: domain}
	if f.Field != "" {
		info.Metadata = map[string]string{"field": f.Field}
	}
	details := []protoadapt.MessageV1{info}
	if f.RetryAfter > 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(f.RetryAfter)})
	}
	st := status.New(f.Code, f.Msg)
	if with, err := st.WithDetails(details...); err == nil {
		return with
	}
	return st
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
	for _, d := range st.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			if d.GetDomain() == domain {
				ours = &Fault{
					Code: st.Code(), Reason: d.GetReason(), Msg: statusMessage(err, st), Field: d.GetMetadata()["field"],
				}
			}
		case *errdetails.RetryInfo:
			wait = d
		}
	}
	if ours != nil {
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

// statusMessage is the message of the status itself: status.FromError prefixes it with the text of what wraps it.
func statusMessage(err error, st *status.Status) string {
	if g, ok := errors.AsType[interface {
		error
		GRPCStatus() *status.Status
	}](err); ok {
		return g.GRPCStatus().Message()
	}
	return st.Message()
}
