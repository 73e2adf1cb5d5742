package rpc

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	auditpb "slipway.dev/proto/audit/v1"

	"slipway.dev/pkg/access"
	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/identity"
)

// recordFor bounds the time for writing a record after its call has ended.
const recordFor = 5 * time.Second

// Audit makes the server record client calls that may change something, in the name of service. Units of work write the record
// with the change; write records refused calls, in a unit of work of its own.
func (s *Server) Audit(service string, write func(context.Context, *auditpb.Record) error) {
	s.service, s.record = service, write
}

// ClientIP returns the address of the client if the gateway made the call, because other callers are not trusted with it.
func ClientIP(ctx context.Context) string {
	if CallerOf(ctx) != "gateway" {
		return ""
	}
	return first(ctx, ClientIPKey)
}

// clientIP is ClientIP for records, which also trusts a service that the method is for.
func clientIP(ctx context.Context, m access.Method) string {
	if m.Level == levelService && slices.Contains(m.Callers, CallerOf(ctx)) {
		return first(ctx, ClientIPKey)
	}
	return ClientIP(ctx)
}

// UserAgent returns the User-Agent of the client if the gateway made the call, because other callers are not trusted with it.
func UserAgent(ctx context.Context) string {
	if CallerOf(ctx) != "gateway" {
		return ""
	}
	return first(ctx, UserAgentKey)
}

// begin returns the record of a call. It returns nil for a call that changes nothing, and for a call that a service makes for no
// user, unless the method is always recorded.
func (s *Server) begin(ctx context.Context, m access.Method, req any) *audit.Call {
	i, known := identity.From(ctx)
	forUser := known || m.Level != levelService || CallerOf(ctx) == usersCaller
	if s.record == nil || !m.Recorded() || !forUser && !m.Object.GetAlways() {
		return nil
	}
	r := &auditpb.Record{
		At: timestamppb.Now(), Service: s.service, Action: strings.TrimPrefix(m.Name, "/"),
		ClientIp: clientIP(ctx, m), RequestId: RequestID(ctx),
	}
	if known {
		r.ActorId, r.Actor, r.SessionId = i.AccountID, i.Name(), i.SessionID
	}
	r.ObjectType, r.ObjectId = object(ctx, m, req)
	return audit.New(r)
}

// end writes the record of the call unless one of its units of work has written it.
func (s *Server) end(ctx context.Context, c *audit.Call, err error) {
	if c == nil {
		return
	}
	r := c.End(err)
	if r == nil {
		return
	}
	if err != nil {
		if ok, first := s.refused.Allow(r.GetActorId(), time.Now()); !ok {
			if first {
				s.log.Warn("further refused calls of this minute are not recorded", "account", r.GetActorId())
			}
			return
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(audit.Without(ctx)), recordFor)
	defer cancel()
	if err := s.record(ctx, r); err != nil {
		s.log.Error("a call was not recorded", "method", r.GetAction(), "account", r.GetActorId(), "request", r.GetRequestId(), "err", err)
	}
}

// object returns the kind and id of the object of a call, as its method declares.
func object(ctx context.Context, m access.Method, req any) (kind, id string) {
	if i, ok := identity.From(ctx); ok && m.Object.GetCaller() {
		return m.Object.GetKind(), strconv.Itoa(int(i.AccountID))
	}
	msg, _ := req.(proto.Message)
	return m.Object.GetKind(), m.ObjectID(msg)
}
