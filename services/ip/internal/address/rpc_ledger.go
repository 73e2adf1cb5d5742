package address

import (
	"context"
	"net/netip"

	ippb "slipway.dev/proto/ip/v3"

	"slipway.dev/pkg/clamp"
	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/ip/internal/message"
)

// ListHeld returns a page of the addresses that have an owner.
func (s *server) ListHeld(ctx context.Context, r *ippb.ListHeldRequest) (*ippb.ListHeldResponse, error) {
	list, err := heldAfter(ctx, s.db, r.GetAfter())
	if err != nil {
		return nil, err
	}
	return &ippb.ListHeldResponse{Held: message.List(list, func(h held) *ippb.Held {
		return &ippb.Held{Id: h.ID, IpAddr: h.IP.String(), Owner: h.Owner, Assigned: h.Assigned, Account: h.Account}
	})}, nil
}

// ListOpenHistories returns the histories that are not settled.
func (s *server) ListOpenHistories(ctx context.Context, _ *ippb.ListOpenHistoriesRequest) (*ippb.ListOpenHistoriesResponse, error) {
	list, err := pg.OpenHistories(ctx, s.db)
	if err != nil {
		return nil, err
	}
	return &ippb.ListOpenHistoriesResponse{Histories: message.List(list, func(h pg.History) *ippb.History {
		return &ippb.History{System: h.System, Number: h.Number}
	})}, nil
}

// SettleHistories holds the addresses that machines have, and settles histories.
func (s *server) SettleHistories(ctx context.Context, r *ippb.SettleHistoriesRequest) (*ippb.SettleHistoriesResponse, error) {
	histories := message.List(r.GetHistories(), func(h *ippb.History) pg.History {
		return pg.History{System: h.GetSystem(), Number: h.GetNumber()}
	})
	var seen []seenAddress
	for _, a := range r.GetSeen() {
		ip, err := netip.ParseAddr(a.GetIpAddr())
		machine, ownerErr := parseOwner(a.GetMachine())
		if err != nil || ownerErr != nil {
			return nil, fault.Invalid.With("%.50q of the machine %.50q is no address", a.GetIpAddr(), a.GetMachine()).On("seen")
		}
		seen = append(seen, seenAddress{ip.Unmap(), machine})
	}
	var held int
	err := s.db.InTx(ctx, func(tx *unit.Tx) (err error) {
		if held, err = holdSeen(ctx, tx, seen); err != nil {
			return err
		}
		return pg.Settle(ctx, tx, histories)
	})
	if err != nil {
		return nil, err
	}
	return &ippb.SettleHistoriesResponse{Held: clamp.Int32(held)}, nil
}
