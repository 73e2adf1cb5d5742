package ipchange

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc"

	ippb "slipway.dev/proto/ip/v3"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/jobs"
	"slipway.dev/services/vm/internal/address"
	"slipway.dev/services/vm/internal/host/hosttest"
	"slipway.dev/services/vm/internal/machine"
)

// TestEnds: what a change of addresses records, and that no part of it is lost.
func TestEnds(t *testing.T) {
	t.Parallel()
	ctx, run, a := t.Context(), &jobs.Run{}, machine.Args{ID: 3}
	of := func(r *hosttest.Rows) *worker { return &worker{in: func(pgx.Tx) Tx { return r }} }
	changed := func(r *hosttest.Rows) error { return of(r).changed(ctx, nil, run, a) }
	hosttest.Ends(t, "a host that loses one", func(r *hosttest.Rows) { r.Gone = []address.Address{{IPID: 4}} }, changed,
		"host", "addresses changed", "enqueue ip_free", "emit vm.v3.host.updated")
	hosttest.Ends(t, "a host that loses none", nil, changed, "host", "addresses changed", "emit vm.v3.host.updated")
	hosttest.Ends(t, "a failure", nil, func(r *hosttest.Rows) error { return of(r).unchanged(ctx, nil, run, a, fault.Internal) },
		"addresses unchanged")
}

// refusing is an ip that refuses the second key that it is asked for.
type refusing struct {
	ippb.AddressServiceClient
	keys *[]string
}

func (r refusing) ask(key string) error {
	if *r.keys = append(*r.keys, key); len(*r.keys) == 2 {
		return fault.Unavailable
	}
	return nil
}

func (r refusing) Confirm(_ context.Context, q *ippb.ConfirmRequest, _ ...grpc.CallOption) (*ippb.ConfirmResponse, error) {
	return &ippb.ConfirmResponse{}, r.ask(q.GetKey())
}

// TestAllOrNone: a reservation that ip does not confirm is an error, and the next one is not asked for.
func TestAllOrNone(t *testing.T) {
	t.Parallel()
	var keys []string
	w := &worker{ip: refusing{keys: &keys}}
	err := w.confirm(t.Context(), &jobs.Run{}, machine.Args{ID: 3, Keys: []string{"a", "b", "c"}})
	if !errors.Is(err, fault.Unavailable) || len(keys) != 2 {
		t.Errorf("asked for %v, %v", keys, err)
	}
}
