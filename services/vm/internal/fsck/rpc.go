package fsck

import (
	"context"
	"time"

	outboxpb "slipway.dev/proto/outbox/v1"
	parkedpb "slipway.dev/proto/parked/v1"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/clamp"
	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/fsck"
)

// Server answers vm.v3.FsckService.
type Server struct {
	vmpb.UnimplementedFsckServiceServer
	checker *fsck.Checker
	events  map[string]Events
}

// Events are the rpcs of one service about the events that it took in and sent.
type Events struct {
	Parked parkedpb.ParkedServiceClient
	Outbox outboxpb.OutboxServiceClient
}

// NewServer returns a Server. events are those of all services, vm among them, by name.
func NewServer(c *fsck.Checker, events map[string]Events) *Server {
	return &Server{checker: c, events: events}
}

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
	rep, err := s.checker.Settled(ctx, settle)
	if err != nil {
		return nil, err
	}
	resp := &vmpb.GetFsckResponse{
		Size: clamp.Int32(len(rep.Findings)), Unchecked: rep.Unchecked,
		Hosts: clamp.Int32(rep.Counts[Hosts]), Machines: clamp.Int32(rep.Counts[Machines]),
		Addresses: clamp.Int32(rep.Counts[Addresses]), Nodes: clamp.Int32(rep.Counts[Nodes]),
	}
	for _, f := range rep.Findings {
		resp.List = append(resp.List, f.Proto())
	}
	return resp, nil
}
