package bus

import (
	"context"

	"github.com/nats-io/nats.go/jetstream"
)

// StreamInfo returns what JetStream says of the stream of a service.
func StreamInfo(ctx context.Context, b *Bus, service string) (*jetstream.StreamInfo, error) {
	s, err := b.js.Stream(ctx, service)
	if err != nil {
		return nil, err
	}
	return s.CachedInfo(), nil
}

// Resize changes how large the streams of b may become.
func Resize(b *Bus, bytes int64) { b.most = bytes }
