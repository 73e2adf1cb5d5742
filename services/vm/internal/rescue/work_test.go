package rescue

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/jobs"
	"slipway.dev/services/vm/internal/host"
	"slipway.dev/services/vm/internal/host/hosttest"
	"slipway.dev/services/vm/internal/machine"
)

// TestEnds: what a job of a rescue system records, and that no part of it is lost.
func TestEnds(t *testing.T) {
	t.Parallel()
	ctx, run, a := t.Context(), &jobs.Run{Job: jobs.Job{ID: 7}}, args{Template: "t", SizeMiB: 9}
	of := func(r *hosttest.Rows) *worker {
		return &worker{func(pgx.Tx) Tx { return r }, machine.New(nil, nil), machine.New(nil, nil)}
	}
	off := func(r *hosttest.Rows) { r.Row.Wanted = host.WantStopped }
	hosttest.Ends(t, "enter", off, func(r *hosttest.Rows) error { return of(r).entered(ctx, nil, run, a) },
		`rescued "rescue-7" "t" 9`, "host", "save , wanted active", "booted with 0 addresses", "host", "save active, wanted active", "emit vm.v3.host.updated")
	hosttest.Ends(t, "leave", off, func(r *hosttest.Rows) error { return of(r).left(ctx, nil, run, a) },
		`rescued "" "" 0`, "host", "host", "save stopped, wanted stopped", "emit vm.v3.host.updated")
	hosttest.Ends(t, "a failure", nil, func(r *hosttest.Rows) error { return of(r).failed(ctx, nil, run, a, fault.Internal) },
		"host", "host", "save active, wanted active", "emit vm.v3.host.failed")
}
