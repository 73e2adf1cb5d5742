package fault_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"slipway.dev/pkg/fault"
)

var errFull = fault.New(codes.ResourceExhausted, "POOL_EXHAUSTED", "no free address")

func TestStatusCarriesFaultAndHidesCause(t *testing.T) {
	t.Parallel()
	cause := errors.New("pq: relation \"secret\" does not exist at 10.0.0.1")
	err := fmt.Errorf("reserve: %w", errFull.With("no free address in pool %d", 7).On("ipv4_pool").After(90*time.Second).Wrap(cause))

	st := fault.Status(err)
	if st.Code() != codes.ResourceExhausted || st.Message() != "no free address in pool 7" {
		t.Fatalf("status %v %q", st.Code(), st.Message())
	}
	// A service that calls another and wraps what it got must pass the same fault on.
	back, ok := fault.From(fmt.Errorf("call ip: %w", st.Err()))
	if !ok || !errors.Is(back, errFull) || back.Field != "ipv4_pool" || back.RetryAfter != 90*time.Second || back.Msg != "no free address in pool 7" {
		t.Fatalf("back %+v %v", back, ok)
	}
}

func TestStatusOfForeignErrors(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		err  error
		code codes.Code
		msg  string
	}{
		{"plain", errors.New("dial tcp 10.0.0.1: refused"), codes.Internal, "internal error"},
		{"grpc internal", status.Error(codes.Internal, "secret"), codes.Internal, "internal error"},
		{"grpc unavailable", status.Error(codes.Unavailable, "10.0.0.1 refused"), codes.Unavailable, fault.Unavailable.Msg},
		{"cancelled", fmt.Errorf("x: %w", context.Canceled), codes.Canceled, "the caller went away"},
		{"late", context.DeadlineExceeded, codes.DeadlineExceeded, "the request took too long"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			st := fault.Status(tt.err)
			if st.Code() != tt.code || st.Message() != tt.msg {
				t.Errorf("got %v %q, want %v %q", st.Code(), st.Message(), tt.code, tt.msg)
			}
		})
	}
	if fault.Status(nil) != nil {
		t.Error("Status(nil) is not nil")
	}
}

func TestStatusCarriesEveryPart(t *testing.T) {
	t.Parallel()
	broken := []fault.Violation{
		{Field: "name", Reason: "TOO_LONG", Msg: "at most 63 characters"},
		{Field: "disks[1].size_mib", Msg: "from 1 to 1024"},
	}
	for name, sent := range map[string]*fault.Fault{
		"plain":          fault.NotFound.With("no host 7"),
		"field":          fault.Invalid.With("expected text").On("name"),
		"one violation":  fault.Invalid.Breaks(broken[0]),
		"two violations": fault.Invalid.Breaks(broken...).After(3 * time.Second),
		"scope":          fault.Denied.With("none of your roles grants vm.write").Requires("vm.write"),
		"wait":           errFull.After(1500 * time.Millisecond),
		"all":            errFull.Breaks(broken...).Requires("vm.write").After(time.Minute),
	} {
		st := fault.Status(fmt.Errorf("step: %w", sent))
		if got, ok := fault.From(fmt.Errorf("call: %w", st.Err())); !ok || !reflect.DeepEqual(got, sent) {
			t.Errorf("%s: sent %+v, got %+v", name, sent, got)
		}
	}
}

func TestSeveralViolationsShowTheFirst(t *testing.T) {
	t.Parallel()
	f := fault.Invalid.Breaks(fault.Violation{Field: "a", Msg: "required"}, fault.Violation{Field: "b", Msg: "required"})
	if f.Field != "a" || f.Msg != "required" || f.Text() != "a: required" || !errors.Is(f, fault.Invalid) {
		t.Errorf("%+v", f)
	}
	if got := fault.NotFound.Text(); got != fault.NotFound.Msg {
		t.Errorf("text %q", got)
	}
}
