package service

import (
	"context"

	"google.golang.org/protobuf/types/known/timestamppb"

	parkedpb "slipway.dev/proto/parked/v1"

	"slipway.dev/pkg/bus"
	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/unit"
)

// parkedMost is the most parked events that are listed.
const parkedMost = 1000

// parked lists and replays the events that the consumers of the service could not apply.
type parked struct {
	parkedpb.UnimplementedParkedServiceServer
	*Service
}

func (s *Service) registerParked() {
	parkedpb.RegisterParkedServiceServer(s.kit.Server, parked{Service: s})
}

// ListParked lists parked events, the oldest first.
func (s parked) ListParked(ctx context.Context, _ *parkedpb.ListParkedRequest) (*parkedpb.ListParkedResponse, error) {
	list, err := bus.ListParked(ctx, s.kit.Pool, parkedMost)
	if err != nil {
		return nil, err
	}
	resp := &parkedpb.ListParkedResponse{}
	for _, p := range list {
		resp.List = append(resp.List, &parkedpb.Parked{
			Consumer: p.Consumer, Event: p.Event.ID, Subject: p.Event.Subject, Key: p.Event.Key, Reason: p.Error,
			ParkedAt: timestamppb.New(p.At),
		})
	}
	return resp, nil
}

// ReplayParked applies a parked event again.
func (s parked) ReplayParked(ctx context.Context, r *parkedpb.ReplayParkedRequest) (*parkedpb.ReplayParkedResponse, error) {
	for _, c := range s.parts.Consumers {
		if c.Name != r.GetConsumer() {
			continue
		}
		err := s.kit.DB.InTx(ctx, func(tx *unit.Tx) error {
			return bus.Replay(ctx, tx.Plain(), c.Name, r.GetEvent(), c.take)
		})
		if err != nil {
			return nil, bus.Refused(ctx, s.kit.Pool, c.Name, r.GetEvent(), err)
		}
		s.kit.Relay.Poke()
		if s.kit.Jobs != nil {
			s.kit.Jobs.Poke()
		}
		return &parkedpb.ReplayParkedResponse{}, nil
	}
	return nil, fault.NotFound.With("no consumer %.40q", r.GetConsumer())
}

// DropParked deletes a parked event.
func (s parked) DropParked(ctx context.Context, r *parkedpb.DropParkedRequest) (*parkedpb.DropParkedResponse, error) {
	return &parkedpb.DropParkedResponse{}, s.kit.DB.InTx(ctx, func(tx *unit.Tx) error {
		return bus.Drop(ctx, tx, r.GetConsumer(), r.GetEvent())
	})
}
