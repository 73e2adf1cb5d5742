package address

import (
	"context"

	ippb "slipway.dev/proto/ip/v3"

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
