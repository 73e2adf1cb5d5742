package service

import (
	"context"
	"time"

	outboxpb "slipway.dev/proto/outbox/v1"

	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/clamp"
	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/outbox"
	"slipway.dev/pkg/unit"
)

// sender sends events of the service again.
type sender struct {
	outboxpb.UnimplementedOutboxServiceServer
	*Service
}

// Republish sends the events since a time again.
func (s sender) Republish(ctx context.Context, r *outboxpb.RepublishRequest) (*outboxpb.RepublishResponse, error) {
	since := r.GetSince().AsTime()
	if r.GetSince() == nil || !r.GetSince().IsValid() {
		return nil, fault.Invalid.With("a time is required").On("since")
	}
	var n int64
	err := s.kit.DB.InTx(ctx, func(tx *unit.Tx) (err error) {
		n, err = outbox.Republish(ctx, tx, since)
		audit.Of(ctx).Object("outbox", s.spec.Name)
		audit.Of(ctx).Change(nil, map[string]any{"since": since.Format(time.DateTime), "events": n})
		return err
	})
	if err != nil {
		return nil, err
	}
	s.kit.Log.Warn("events are sent again, as requested", "since", since, "events", n)
	s.kit.Relay.Poke()
	return &outboxpb.RepublishResponse{Events: clamp.Int32(n)}, nil
}
