package ipchange

import (
	"context"
	"errors"

	ippb "slipway.dev/proto/ip/v3"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/address"
	"slipway.dev/services/vm/internal/listing"
)

// SetPTR names an address of a host, and with the main address the host itself; an administrator may name any address
// that has an owner. vm's rows are written at once, so that a client reads what it wrote, and again by ip's event, in
// case vm dies before it writes.
func (s *Server) SetPTR(ctx context.Context, r *vmpb.SetPTRRequest) (*vmpb.SetPTRResponse, error) {
	req := &ippb.SetPTRRequest{Id: r.GetId(), Domain: r.GetDomain()}
	_, id, err := address.Holder(ctx, s.db, r.GetId(), listing.Owner(ctx))
	caller, _ := identity.From(ctx)
	switch {
	case err == nil:
		req.Owner = id.String()
	case !errors.Is(err, fault.NotFound) || !caller.Admin():
		return nil, err
	}
	resp, err := s.peers.IP.SetPTR(ctx, req)
	if err != nil {
		return nil, err
	}
	err = s.db.InTx(ctx, func(tx *unit.Tx) error {
		return named(ctx, tx, r.GetId(), resp.GetPtrSerial(), resp.GetDomain(), resp.GetPtrState())
	})
	return &vmpb.SetPTRResponse{Id: r.GetId()}, err
}
