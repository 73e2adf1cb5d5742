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

// parkedMost is how many parked events are listed.
const parkedMost = 1000

// ListParked lists events that could not be taken in.
func (s *Server) ListParked(ctx context.Context, _ *vmpb.ListParkedRequest) (*vmpb.ListParkedResponse, error) {
	list, err := s.store.Parked(ctx, parkedMost)
	if err != nil {
		return nil, err
	}
	resp := &vmpb.ListParkedResponse{Size: clamp.Int32(len(list))}
	for _, p := range list {
		resp.List = append(resp.List, &vmpb.Parked{
			Consumer: p.Consumer, Event: p.Event.ID, Subject: p.Event.Subject, Key: p.Event.Key, Reason: p.Error, DateParked: date(p.At),
		})
	}
	return resp, nil
}

// ReplayParked takes a parked event in.
func (s *Server) ReplayParked(ctx context.Context, r *vmpb.ReplayParkedRequest) (*vmpb.ReplayParkedResponse, error) {
	take, known := s.peers.Consumers[r.GetConsumer()]
	if !known {
		return nil, fault.NotFound.With("no consumer %.40q", r.GetConsumer())
	}
	if err := s.store.ReplayParked(ctx, r.GetConsumer(), r.GetEvent(), take); err != nil {
		return nil, err
	}
	return &vmpb.ReplayParkedResponse{}, nil
}

// DropParked forgets a parked event.
func (s *Server) DropParked(ctx context.Context, r *vmpb.DropParkedRequest) (*vmpb.DropParkedResponse, error) {
	return &vmpb.DropParkedResponse{}, s.store.DropParked(ctx, r.GetConsumer(), r.GetEvent())
}
