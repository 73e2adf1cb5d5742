package store

import (
	"context"

	"slipway.dev/pkg/bus"
)

// Parked returns events of other services that could not be taken in.
func (s *Store) Parked(ctx context.Context, limit int) ([]bus.Parked, error) {
	return bus.ListParked(ctx, s.pool, limit)
}

// ReplayParked makes the effect of a parked event.
func (s *Store) ReplayParked(ctx context.Context, consumer, event string, take bus.Handle) error {
	return bus.Replay(ctx, s.pool, consumer, event, take)
}

// DropParked forgets a parked event.
func (s *Store) DropParked(ctx context.Context, consumer, event string) error {
	return bus.Drop(ctx, s.pool, consumer, event)
}
