package guest

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/jobs"
	"slipway.dev/services/vm/internal/host/hosttest"
	"slipway.dev/services/vm/internal/machine"
)

// TestEnds: what a change of a password records, and that no part of it is lost.
func TestEnds(t *testing.T) {
	t.Parallel()
	ctx, run, a := t.Context(), &jobs.Run{}, machine.Args{ID: 3}
	of := func(r *hosttest.Rows) *worker { return &worker{func(pgx.Tx) Tx { return r }, machine.New(nil, nil)} }
	hosttest.Ends(t, "an attempt that asked no agent", nil, func(r *hosttest.Rows) error { return of(r).set(ctx, nil, run, a) },
		"host", "password set, in the guest false", "remark "+atStart, "emit vm.v3.host.updated")
	hosttest.Ends(t, "a failure", nil, func(r *hosttest.Rows) error { return of(r).failed(ctx, nil, run, a, fault.Internal) }, "forget")
}
