package server

import (
	"context"
	"time"

	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/clamp"
	"slipway.dev/pkg/fault"
	"slipway.dev/services/vm/internal/fsck"
)

// How long a check waits before its second look at what it found.
const (
	settleDefault = 2 * time.Second
	settleMost    = 30 * time.Second
)

// GetFsck runs the consistency check.
func (s *Server) GetFsck(ctx context.Context, r *vmpb.GetFsckRequest) (*vmpb.GetFsckResponse, error) {
	settle := time.Duration(r.GetSettleMs()) * time.Millisecond
	switch {
	case settle < 0 || settle > settleMost:
		return nil, fault.Invalid.With("from 0 to %d", settleMost.Milliseconds()).On("settle_ms")
	case settle == 0:
		settle = settleDefault
	}
	rep, err := s.peers.Fsck.Settled(ctx, settle)
	if err != nil {
		return nil, err
	}
	resp := &vmpb.GetFsckResponse{
		Size: clamp.Int32(len(rep.Findings)), Unchecked: rep.Unchecked,
		Hosts: clamp.Int32(rep.Counts[fsck.Hosts]), Machines: clamp.Int32(rep.Counts[fsck.Machines]),
		Addresses: clamp.Int32(rep.Counts[fsck.Addresses]), Nodes: clamp.Int32(rep.Counts[fsck.Nodes]),
	}
	for _, f := range rep.Findings {
		resp.List = append(resp.List, f.Proto())
	}
	return resp, nil
}
