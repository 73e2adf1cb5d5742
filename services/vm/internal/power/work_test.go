package power

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/jobs"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/host"
	"slipway.dev/services/vm/internal/host/hosttest"
	"slipway.dev/services/vm/internal/machine"
)

// TestEnds: what a job of power records, and that no part of it is lost.
func TestEnds(t *testing.T) {
	t.Parallel()
	ctx, a, run := t.Context(), machine.Args{ID: 3}, &jobs.Run{}
	deleting := func(r *hosttest.Rows) { r.Row.State = host.Deleting }
	off := func(r *hosttest.Rows) { r.Row.Wanted = host.WantStopped }
	of := func(r *hosttest.Rows) *worker {
		return &worker{func(pgx.Tx) Tx { return r }, machine.New(nil, nil)}
	}
	started := func(r *hosttest.Rows) error { return of(r).started(ctx, nil, run, a) }
	stopped := func(r *hosttest.Rows) error { return of(r).stopped(ctx, nil, run, a) }
	failed := func(r *hosttest.Rows) error { return of(r).failed(host.Unknown)(ctx, nil, run, a, fault.Internal) }
	again := func(start bool) func(*hosttest.Rows) error {
		return func(r *hosttest.Rows) error { return Again(ctx, r, machine.New(nil, nil), run, 3, start) }
	}
	before := func(r *hosttest.Rows) error { return AsBefore(ctx, r, 3) }
	hosttest.Ends(t, "start", nil, started, "booted with 0 addresses", "host", "save active, wanted active", "emit vm.v3.host.started")
	hosttest.Ends(t, "start of one that goes", deleting, started, "booted with 0 addresses", "host", "emit vm.v3.host.started")
	hosttest.Ends(t, "stop", off, stopped, "stopped", "host", "save stopped, wanted stopped", "emit vm.v3.host.stopped")
	hosttest.Ends(t, "a failure", nil, failed, "host", "save unknown, wanted active", "emit vm.v3.host.failed")
	hosttest.Ends(t, "again", nil, again(false),
		"host", "booted with 0 addresses", "host", "save active, wanted active", "emit vm.v3.host.updated")
	hosttest.Ends(t, "again, off", off, again(false), "host", "host", "save stopped, wanted stopped", "emit vm.v3.host.updated")
	hosttest.Ends(t, "again, from now on", off, again(true),
		"host", "save , wanted active", "booted with 0 addresses", "host", "save active, wanted active", "emit vm.v3.host.updated")
	hosttest.Ends(t, "again, one that goes", deleting, again(true), "host", "booted with 0 addresses", "host", "emit vm.v3.host.updated")
	hosttest.Ends(t, "as before", off, before, "host", "host", "save stopped, wanted stopped", "emit vm.v3.host.failed")
}

// broken is a transaction in which nothing can be read.
type broken struct{ pgx.Tx }

var errBroken = errors.New("the connection is broken")

// Query returns the error.
func (broken) Query(context.Context, string, ...any) (pgx.Rows, error) { return nil, errBroken }

// TestRowsReportErrors: what could not be written is an error.
func TestRowsReportErrors(t *testing.T) {
	t.Parallel()
	rows := Rows(unit.In(broken{}))
	if err := rows.Booted(t.Context(), 3, machine.Booted{}); !errors.Is(err, errBroken) {
		t.Errorf("booted: %v", err)
	}
	if err := rows.Stopped(t.Context(), 3); !errors.Is(err, errBroken) {
		t.Errorf("stopped: %v", err)
	}
}
