package fsck

import (
	"context"
	"fmt"
	"slices"
	"strings"

	parkedpb "slipway.dev/proto/parked/v1"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/clamp"
	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/stamp"
)

// ListParked lists the parked events of all services, the oldest first.
func (s *Server) ListParked(ctx context.Context, _ *vmpb.ListParkedRequest) (*vmpb.ListParkedResponse, error) {
	var list []*parkedpb.Parked
	for name, e := range s.events {
		resp, err := e.Parked.ListParked(ctx, &parkedpb.ListParkedRequest{})
		if err != nil {
			return nil, fmt.Errorf("parked events of %s: %w", name, err)
		}
		list = append(list, resp.GetList()...)
	}
	slices.SortFunc(list, func(a, b *parkedpb.Parked) int {
		if c := a.GetParkedAt().AsTime().Compare(b.GetParkedAt().AsTime()); c != 0 {
			return c
		}
		return strings.Compare(a.GetEvent(), b.GetEvent())
	})
	resp := &vmpb.ListParkedResponse{Size: clamp.Int32(len(list))}
	for _, p := range list {
		resp.List = append(resp.List, &vmpb.Parked{
			Consumer: p.GetConsumer(), Event: p.GetEvent(), Subject: p.GetSubject(), Key: p.GetKey(), Reason: p.GetReason(),
			DateParked: stamp.Text(p.GetParkedAt().AsTime()),
		})
	}
	return resp, nil
}

// ReplayParked makes the effect of a parked event.
func (s *Server) ReplayParked(ctx context.Context, r *vmpb.ReplayParkedRequest) (*vmpb.ReplayParkedResponse, error) {
	c, err := s.parkedOf(r.GetConsumer())
	if err != nil {
		return nil, err
	}
	_, err = c.ReplayParked(ctx, &parkedpb.ReplayParkedRequest{Consumer: r.GetConsumer(), Event: r.GetEvent()})
	return &vmpb.ReplayParkedResponse{}, err
}

// DropParked deletes a parked event.
func (s *Server) DropParked(ctx context.Context, r *vmpb.DropParkedRequest) (*vmpb.DropParkedResponse, error) {
	c, err := s.parkedOf(r.GetConsumer())
	if err != nil {
		return nil, err
	}
	_, err = c.DropParked(ctx, &parkedpb.DropParkedRequest{Consumer: r.GetConsumer(), Event: r.GetEvent()})
	return &vmpb.DropParkedResponse{}, err
}

// parkedOf returns the service of a consumer, with whose name that of the consumer begins.
func (s *Server) parkedOf(consumer string) (parkedpb.ParkedServiceClient, error) {
	name, _, _ := strings.Cut(consumer, "-")
	e, ok := s.events[name]
	if !ok {
		return nil, fault.NotFound.With("no consumer %.40q", consumer)
	}
	return e.Parked, nil
}
