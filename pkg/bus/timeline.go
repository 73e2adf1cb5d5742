package bus

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// timelineKey names the metadata of a stream that hold the highest timeline of the database of its service.
const timelineKey = "slipway-timeline"

// recallTime bounds how long the start of a service waits for a timeline.
const recallTime = 2 * time.Second

// Timeline returns the highest timeline that KeepTimeline has kept for a service, 0 for none.
func (b *Bus) Timeline(ctx context.Context, service string) (int64, error) {
	ctx, stop := context.WithTimeout(ctx, recallTime)
	defer stop()
	s, err := repeat(ctx, b.patience, func(ctx context.Context) (jetstream.Stream, error) { return b.js.Stream(ctx, service) })
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("timeline kept with stream %s: %w", service, err)
	}
	return timelineOf(s), nil
}

// KeepTimeline keeps the timeline of a service's database with its stream, unless a higher one is kept: a service that starts
// while a former primary takes writes has no other memory of the failover.
func (b *Bus) KeepTimeline(ctx context.Context, service string, timeline int64) error {
	s, err := b.stream(ctx, service)
	if err != nil {
		return err
	}
	if timelineOf(s) >= timeline {
		return nil
	}
	ctx, stop := context.WithTimeout(ctx, askTime)
	defer stop()
	cfg := s.CachedInfo().Config
	cfg.Metadata = maps.Clone(cfg.Metadata)
	if cfg.Metadata == nil {
		cfg.Metadata = map[string]string{}
	}
	cfg.Metadata[timelineKey] = strconv.FormatInt(timeline, 10)
	if _, err := b.js.UpdateStream(ctx, cfg); err != nil {
		return fmt.Errorf("keep a timeline with stream %s: %w", service, err)
	}
	return nil
}

func timelineOf(s jetstream.Stream) int64 {
	n, _ := strconv.ParseInt(s.CachedInfo().Config.Metadata[timelineKey], 10, 64) // none is 0
	return n
}
