package iso

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/jobs"
	"slipway.dev/services/vm/internal/host"
	"slipway.dev/services/vm/internal/host/hosttest"
	"slipway.dev/services/vm/internal/machine"
)

// TestEnds: what a job of a CD records, and that no part of it is lost.
func TestEnds(t *testing.T) {
	t.Parallel()
	ctx, run := t.Context(), &jobs.Run{Job: jobs.Job{ID: 7}}
	of := func(r *hosttest.Rows) *worker {
		return &worker{func(pgx.Tx) Tx { return r }, machine.New(nil, nil), machine.New(nil, nil)}
	}
	off := func(r *hosttest.Rows) { r.Row.Wanted = host.WantStopped }
	hosttest.Ends(t, "mount", off, func(r *hosttest.Rows) error { return of(r).mounted(ctx, nil, run, args{}) },
		`inserted "iso-7"`, "host", "save , wanted active", "booted with 0 addresses", "host", "save active, wanted active", "emit vm.v3.host.updated")
	hosttest.Ends(t, "finish", off, func(r *hosttest.Rows) error { return of(r).finished(ctx, nil, run, args{}) },
		`inserted ""`, "host", "host", "save stopped, wanted stopped", "emit vm.v3.host.updated")
	hosttest.Ends(t, "a failure", nil, func(r *hosttest.Rows) error { return of(r).failed(ctx, nil, run, args{}, fault.Internal) },
		"host", "host", "save active, wanted active", "emit vm.v3.host.failed")
}
