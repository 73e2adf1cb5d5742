package resource

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/jobs"
	"slipway.dev/services/vm/internal/host"
	"slipway.dev/services/vm/internal/host/hosttest"
	"slipway.dev/services/vm/internal/machine"
)

// TestEnds: what a change of resources records, and that no part of it is lost.
func TestEnds(t *testing.T) {
	t.Parallel()
	ctx, run, a := t.Context(), &jobs.Run{}, args{Args: machine.Args{ID: 3}}
	of := func(r *hosttest.Rows) *worker { return &worker{func(pgx.Tx) Tx { return r }, machine.New(nil, nil)} }
	done := func(r *hosttest.Rows) error { return of(r).done(ctx, nil, run, a) }
	hosttest.Ends(t, "done", nil, done, "resized", "host", "emit vm.v3.host.updated")
	hosttest.Ends(t, "one that goes", func(r *hosttest.Rows) { r.Row.State = host.Deleting }, done, "resized", "host")
	hosttest.Ends(t, "a failure", nil, func(r *hosttest.Rows) error { return of(r).failed(ctx, nil, run, a, fault.Internal) },
		"resized", "host", "emit vm.v3.host.updated")
}
