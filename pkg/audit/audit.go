// Package audit carries the record of a call through its handler into the transaction of the change, so that no change
// commits without its record. A refused call is recorded when it ends.
package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	auditpb "slipway.dev/proto/audit/v1"

	"slipway.dev/pkg/fault"
)

// Results of a call.
const (
	OK     = "ok"
	Denied = "denied"
	Failed = "failed"
)

// Call is the record of a call that changes something, while the call is under way. Calls that change nothing have a nil Call,
// on which all methods do nothing.
type Call struct {
	mu      sync.Mutex
	record  *auditpb.Record
	written bool
	keep    bool
	left    bool
}

type callKey struct{}

// New begins the record of a call.
func New(r *auditpb.Record) *Call { return &Call{record: r} }

// With returns a context whose units of work write c's record.
func With(ctx context.Context, c *Call) context.Context { return context.WithValue(ctx, callKey{}, c) }

// Without returns a context for units of work that are not the requested change, such as counting a failed login.
func Without(ctx context.Context) context.Context {
	return context.WithValue(ctx, callKey{}, (*Call)(nil))
}

// Of returns the record of the call under way, or nil.
func Of(ctx context.Context) *Call {
	c, _ := ctx.Value(callKey{}).(*Call)
	return c
}

// Object sets the object of the call. The last value counts, so a unit of work may run twice.
func (c *Call) Object(kind string, id any) {
	c.edit(func(r *auditpb.Record) { r.ObjectType, r.ObjectId = kind, fmt.Sprint(id) })
}

// Actor sets the account that makes the call where no credential names it, as with a login.
func (c *Call) Actor(id int32, email string) {
	c.edit(func(r *auditpb.Record) { r.ActorId, r.Actor = id, email })
}

// Change sets the values before and after the change, which are stored as JSON. Pass only fields that every reader of the
// object may see, chosen one by one. nil is no value.
func (c *Call) Change(before, after any) {
	c.edit(func(r *auditpb.Record) { r.Before, r.After = text(before), text(after) })
}

// Keep makes a refused call recorded although it had no valid credential. The caller of Keep must bound how often that can
// happen.
func (c *Call) Keep() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keep = true
}

// Leave leaves the record to the service that is called now: it commits the change and records it with the same actor.
func (c *Call) Leave() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left = true
}

func (c *Call) edit(f func(*auditpb.Record)) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	f(c.record)
}

func text(v any) string {
	if v == nil {
		return ""
	}
	b, err := json.Marshal(v)
	if err != nil {
		return "" // cannot happen: v is a map or struct of plain values
	}
	return string(b)
}

// Commit calls write with the record of the call under way, in the unit of work that makes the change. Commit does nothing if
// there is no such call, or if an earlier unit of work of the call has committed the record. Call Commit last in the unit of
// work, and Committed after the commit.
func Commit(ctx context.Context, write func(*auditpb.Record) error) error {
	c := Of(ctx)
	if c == nil {
		return nil
	}
	c.mu.Lock()
	written, r := c.written || c.left, proto.CloneOf(c.record)
	c.mu.Unlock()
	if written {
		return nil
	}
	r.Result = OK
	return write(r)
}

// Committed marks the record of the call as written.
func Committed(ctx context.Context) {
	if c := Of(ctx); c != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.written = true
	}
}

// End returns the record that is still to be written after the call ended with err. It returns nil if the record is written
// already, or if the call is refused and has no actor.
func (c *Call) End(err error) *auditpb.Record {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left || err == nil && c.written || err != nil && c.record.GetActorId() == 0 && !c.keep {
		return nil
	}
	r := proto.CloneOf(c.record)
	if err == nil {
		r.Result = OK
		return r
	}
	st := fault.Status(err)
	r.Result, r.Reason = Failed, fault.Internal.Reason
	if f, ok := fault.From(st.Err()); ok {
		r.Reason = f.Reason
	}
	if st.Code() == codes.PermissionDenied || st.Code() == codes.Unauthenticated {
		r.Result = Denied
	}
	r.Before, r.After = "", "" // nothing changed
	r.At = timestamppb.Now()
	return r
}
