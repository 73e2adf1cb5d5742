package server

import (
	"context"
	"time"

	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/clamp"
	"slipway.dev/services/vm/internal/store"
)

// ListStrangers lists the machines on a node that are no hosts.
func (s *Server) ListStrangers(ctx context.Context, r *vmpb.ListStrangersRequest) (*vmpb.ListStrangersResponse, error) {
	if _, err := s.store.Node(ctx, r.GetId()); err != nil {
		return nil, err
	}
	items, err := s.store.NodeStrangers(ctx, r.GetId())
	if err != nil {
		return nil, err
	}
	resp := &vmpb.ListStrangersResponse{LastNotify: clamp.Int32(time.Now().Unix()), Size: clamp.Int32(len(items))}
	for _, x := range items {
		resp.List = append(resp.List, &vmpb.Stranger{
			InternalName: x.UUID.String(), Host: x.HostID, State: x.State, Verdict: x.Verdict,
			FirstSeen: date(x.FirstSeen), LastSeen: date(x.LastSeen),
		})
	}
	return resp, nil
}

// ResetBreaker lets the removal of leftovers on a node go on.
func (s *Server) ResetBreaker(ctx context.Context, r *vmpb.ResetBreakerRequest) (*vmpb.ResetBreakerResponse, error) {
	err := s.store.InTx(ctx, func(tx store.Tx) error { return tx.ResetBreaker(ctx, r.GetId()) })
	if err != nil {
		return nil, err
	}
	return &vmpb.ResetBreakerResponse{Id: r.GetId()}, nil
}
