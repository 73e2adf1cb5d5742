package server

import (
	"context"

	ippb "slipway.dev/proto/ip/v3"

	"slipway.dev/services/ip/internal/store"
)

// ListHeld lists the addresses that somebody holds.
func (s *Server) ListHeld(ctx context.Context, r *ippb.ListHeldRequest) (*ippb.ListHeldResponse, error) {
	list, err := s.store.Held(ctx, r.GetAfter())
	if err != nil {
		return nil, err
	}
	return &ippb.ListHeldResponse{Held: each(list, func(h store.Held) *ippb.Held {
		return &ippb.Held{Id: h.ID, IpAddr: h.IP.String(), Owner: h.Owner, Assigned: h.Assigned}
	})}, nil
}
