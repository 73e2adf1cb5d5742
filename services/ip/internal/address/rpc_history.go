package address

import (
	"context"

	ippb "slipway.dev/proto/ip/v3"

	"slipway.dev/pkg/clamp"
	"slipway.dev/pkg/query"
	"slipway.dev/pkg/stamp"
	"slipway.dev/services/ip/internal/message"
	"slipway.dev/services/ip/internal/network"
)

// ListAddressHistory returns which owners had an address.
func (s *server) ListAddressHistory(ctx context.Context, r *ippb.ListAddressHistoryRequest) (*ippb.ListHistoryResponse, error) {
	return historyResponse(historyOf(ctx, s.db, r.GetId(), r.GetQuery()))
}

// ListNetworkHistory returns which owners had the addresses of a network.
func (s *server) ListNetworkHistory(ctx context.Context, r *ippb.ListNetworkHistoryRequest) (*ippb.ListHistoryResponse, error) {
	first, last, err := network.Bounds(ctx, s.db, r.GetId())
	if err != nil {
		return nil, err
	}
	return historyResponse(historyBetween(ctx, s.db, r.GetQuery(), first, last))
}

func historyResponse(l query.Rows[holding], err error) (*ippb.ListHistoryResponse, error) {
	if err != nil {
		return nil, err
	}
	return &ippb.ListHistoryResponse{LastNotify: l.LastNotify, Size: l.Size, List: message.List(l.Rows, func(h holding) *ippb.Holding {
		p := &ippb.Holding{
			Id: clamp.Int32(h.ID), IpAddr: h.IP.String(), Owner: h.Owner, Account: message.Number(h.Account), DateFrom: stamp.Text(h.From),
		}
		if h.To != nil {
			p.DateTo = stamp.Text(*h.To)
		}
		return p
	})}, nil
}
