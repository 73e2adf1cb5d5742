// Package audit carries the record of a call through its handler into the transaction of the change, so that no change
// commits without its record. What is refused is recorded when the call ends.
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

// Call is the record of a call that changes something, while the call is under way. Its methods do nothing on a nil Call,
// which is what calls that change nothing have.
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

// Without returns a context for units of work that are not the change that was asked for, such as counting a guess.
func Without(ctx context.Context) context.Context {
	return context.WithValue(ctx, callKey{}, (*Call)(nil))
}

// Of returns the record of the call under way, or nil.
func Of(ctx context.Context) *Call {
	c, _ := ctx.Value(callKey{}).(*Call)
	return c
}

// Object says what the call is about. The last one told counts, so a unit of work may run twice.
func (c *Call) Object(kind string, id any) {
	c.edit(func(r *auditpb.Record) { r.ObjectType, r.ObjectId = kind, fmt.Sprint(id) })
}

// Actor says who it is where no credential does, as with a login.
func (c *Call) Actor(id int32, email string) {
	c.edit(func(r *auditpb.Record) { r.ActorId, r.Actor = id, email })
}

// Change says what changed. The values become JSON as they are: give nothing but fields that everybody may see who may see
// the object, chosen one by one. nil is nothing.
func (c *Call) Change(before, after any) {
	c.edit(func(r *auditpb.Record) { r.Before, r.After = text(before), text(after) })
}

// Keep has the call recorded even if it is refused, though nobody's credential came with it. Something else must bound how
// often that can happen.
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
		return "" // it is ours: maps and structs of plain values
	}
	return string(b)
}

// Commit has write put the record of the call under way into the unit of work that makes the change. It does nothing when
// there is no such call, or when an earlier unit of work of the call has committed the record. Call it last in the unit of
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

// Committed says that the record of the call is safe.
func Committed(ctx context.Context) {
	if c := Of(ctx); c != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.written = true
	}
}

// End returns the record that is yet to be written now that the call ended with err; nil when there is none: it is
// written already, or nobody is to be recorded.
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
