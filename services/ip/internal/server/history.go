package server

import (
	"context"
	"time"

	ippb "slipway.dev/proto/ip/v3"

	"slipway.dev/pkg/clamp"
	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/query"
	"slipway.dev/services/ip/internal/domain"
	"slipway.dev/services/ip/internal/store"
)

// ListAddressHistory tells who had an address.
func (s *Server) ListAddressHistory(ctx context.Context, r *ippb.ListAddressHistoryRequest) (*ippb.ListHistoryResponse, error) {
	return holdings(s.store.AddressHistory(ctx, r.GetId(), r.GetQuery()))
}

// ListNetworkHistory tells who had the addresses of a network.
func (s *Server) ListNetworkHistory(ctx context.Context, r *ippb.ListNetworkHistoryRequest) (*ippb.ListHistoryResponse, error) {
	return holdings(s.store.NetworkHistory(ctx, r.GetId(), r.GetQuery()))
}

func holdings(l query.Rows[store.Holding], err error) (*ippb.ListHistoryResponse, error) {
	if err != nil {
		return nil, err
	}
	return &ippb.ListHistoryResponse{LastNotify: l.LastNotify, Size: l.Size, List: each(l.Rows, func(h store.Holding) *ippb.Holding {
		p := &ippb.Holding{
			Id: clamp.Int32(h.ID), IpAddr: h.IP.String(), Owner: h.Owner, Account: number(h.Account), DateFrom: date(h.From),
		}
		if h.To != nil {
			p.DateTo = date(*h.To)
		}
		return p
	})}, nil
}

// date renders a time as the dialect does.
func date(t time.Time) string { return t.UTC().Format(time.DateTime) }

// GetPoolStats counts the addresses of a pool.
func (s *Server) GetPoolStats(ctx context.Context, r *ippb.GetPoolStatsRequest) (*ippb.Stats, error) {
	if f := r.GetFamily(); f != 0 && f != 4 && f != 6 {
		return nil, fault.Invalid.With("%d is neither 4 nor 6", f).On("family")
	}
	return stats(s.store.PoolStats(ctx, r.GetId(), r.GetFamily()))
}

// GetNetworkStats counts the addresses of a network.
func (s *Server) GetNetworkStats(ctx context.Context, r *ippb.GetNetworkStatsRequest) (*ippb.Stats, error) {
	return stats(s.store.NetworkStats(ctx, r.GetId()))
}

func stats(st domain.Stats, err error) (*ippb.Stats, error) {
	if err != nil {
		return nil, err
	}
	return &ippb.Stats{
		Total: clamp.Int32(st.Total), Usable: clamp.Int32(st.Usable), Assigned: clamp.Int32(st.Assigned), Reserved: clamp.Int32(st.Reserved),
		Quarantined: clamp.Int32(st.Quarantined), Free: clamp.Int32(st.Free()), UtilizationPct: st.Utilization(),
	}, nil
}
