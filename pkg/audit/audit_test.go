package audit_test

import (
	"context"
	"errors"
	"testing"
	"time"

	auditpb "slipway.dev/proto/audit/v1"

	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/fault"
)

func TestCommit(t *testing.T) {
	t.Parallel()
	c := audit.New(&auditpb.Record{Action: "x", ActorId: 3})
	ctx := audit.With(t.Context(), c)
	var got []*auditpb.Record
	write := func(r *auditpb.Record) error { got = append(got, r); return nil }
	if err := audit.Commit(audit.Without(ctx), write); err != nil || got != nil {
		t.Errorf("what is no part of the change was recorded: %v", got)
	}
	for range 2 { // a unit of work may run again
		audit.Of(ctx).Object("host", 7)
		audit.Of(ctx).Change(nil, map[string]any{"name": "a"})
		if err := audit.Commit(ctx, write); err != nil {
			t.Fatal(err)
		}
	}
	if len(got) != 2 || got[1].GetObjectId() != "7" || got[1].GetAfter() != `{"name":"a"}` || got[1].GetBefore() != "" || got[1].GetResult() != audit.OK {
		t.Errorf("%v", got)
	}
	if r := c.End(nil); r == nil {
		t.Error("the commit failed, and nothing is left to write")
	}
	audit.Committed(ctx)
	if r := c.End(nil); r != nil {
		t.Errorf("written twice: %v", r)
	}
	full := func(*auditpb.Record) error { return errors.New("full") }
	if err := audit.Commit(ctx, full); err != nil {
		t.Errorf("a later unit of work of the call writes the record again: %v", err)
	}
	if err := audit.Commit(audit.With(t.Context(), audit.New(&auditpb.Record{})), full); err == nil {
		t.Error("a change whose record cannot be written commits")
	}
}

func TestEnd(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		actor          int32
		keep           bool
		err            error
		result, reason string
	}{
		"denied":          {3, false, fault.Denied, audit.Denied, "PERMISSION_DENIED"},
		"failed":          {3, false, fault.NotFound, audit.Failed, "NOT_FOUND"},
		"our own mistake": {3, false, errors.New("canary"), audit.Failed, "INTERNAL"},
		"anonymous":       {0, false, fault.Unauthenticated, "", ""},
		"counted guess":   {0, true, fault.Unauthenticated, audit.Denied, "UNAUTHENTICATED"},
	} {
		c := audit.New(&auditpb.Record{ActorId: tt.actor})
		c.Change(map[string]any{"a": 1}, nil)
		if tt.keep {
			c.Keep()
		}
		r := c.End(tt.err)
		if (r == nil) != (tt.result == "") || r.GetResult() != tt.result || r.GetReason() != tt.reason || r.GetBefore() != "" {
			t.Errorf("%s: %v", name, r)
		}
	}
	audit.Of(context.Background()).Object("nothing", 1) // a call that changes nothing has no record
}

func TestLimit(t *testing.T) {
	t.Parallel()
	var l audit.Limit
	now := time.Now()
	recorded, first := 0, 0
	for range 1000 {
		ok, over := l.Allow(3, now)
		if ok {
			recorded++
		}
		if over {
			first++
		}
	}
	if recorded != 120 || first != 1 {
		t.Errorf("%d recorded, first reported %d times", recorded, first)
	}
	if ok, _ := l.Allow(4, now); !ok {
		t.Error("one account's refusals hide another's")
	}
	if ok, _ := l.Allow(3, now.Add(time.Minute)); !ok {
		t.Error("refused in the next minute, too")
	}
}
