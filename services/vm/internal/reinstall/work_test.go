package reinstall

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/jobs"
	"slipway.dev/services/vm/internal/host"
	"slipway.dev/services/vm/internal/host/hosttest"
	"slipway.dev/services/vm/internal/machine"
)

// TestEnds: what a reinstallation records, and that no part of it is lost.
func TestEnds(t *testing.T) {
	t.Parallel()
	ctx, run, a := t.Context(), &jobs.Run{}, machine.Args{ID: 3}
	of := func(r *hosttest.Rows) *worker {
		return &worker{func(pgx.Tx) Tx { return r }, machine.New(nil, nil), machine.New(nil, nil)}
	}
	done := func(r *hosttest.Rows) error { return of(r).done(ctx, nil, run, a) }
	hosttest.Ends(t, "on", func(r *hosttest.Rows) { r.Old = "a" }, done,
		"host", "reinstalled", "booted with 0 addresses", "enqueue disk_free", "host", "save active, wanted active", "emit vm.v3.host.reinstalled")
	hosttest.Ends(t, "off", func(r *hosttest.Rows) { r.Row.Wanted = host.WantStopped }, done,
		"host", "reinstalled", "host", "save stopped, wanted stopped", "emit vm.v3.host.reinstalled")
	hosttest.Ends(t, "a failure", nil, func(r *hosttest.Rows) error { return of(r).failed(ctx, nil, run, a, fault.Internal) },
		"forget", "host", "host", "save active, wanted active", "emit vm.v3.host.failed")
}
