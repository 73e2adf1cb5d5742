package leftover

import (
	"context"
	"time"

	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/clamp"
	"slipway.dev/pkg/stamp"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/node"
)

// Server answers the part of vm.v3.NodeService that is about strangers and breakers.
type Server struct{ db *unit.DB }

// NewServer returns a Server.
func NewServer(db *unit.DB) *Server { return &Server{db} }

// ListStrangers lists the machines on a node that no host is.
func (s *Server) ListStrangers(ctx context.Context, r *vmpb.ListStrangersRequest) (*vmpb.ListStrangersResponse, error) {
	if err := node.CheckExists(ctx, s.db, r.GetId()); err != nil {
		return nil, err
	}
	items, err := list(ctx, s.db, r.GetId())
	if err != nil {
		return nil, err
	}
	resp := &vmpb.ListStrangersResponse{LastNotify: clamp.Int32(time.Now().Unix()), Size: clamp.Int32(len(items))}
	for _, x := range items {
		resp.List = append(resp.List, &vmpb.Stranger{
			InternalName: x.UUID.String(), Host: x.HostID, State: x.State, Verdict: x.Verdict,
			FirstSeen: stamp.Text(x.FirstSeen), LastSeen: stamp.Text(x.LastSeen),
		})
	}
	return resp, nil
}

// ResetBreaker lets the removal of leftovers on a node go on.
func (s *Server) ResetBreaker(ctx context.Context, r *vmpb.ResetBreakerRequest) (*vmpb.ResetBreakerResponse, error) {
	err := s.db.InTx(ctx, func(tx *unit.Tx) error { return node.ResetBreaker(ctx, tx, r.GetId()) })
	if err != nil {
		return nil, err
	}
	return &vmpb.ResetBreakerResponse{Id: r.GetId()}, nil
}
