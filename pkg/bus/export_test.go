package bus

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"
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

// Settings returns the settings of the connection of b.
func Settings(b *Bus) nats.Options { return b.nc.Opts }

// Pauses returns the pauses of a reader to which nothing is new.
func Pauses() (list []time.Duration) {
	for pause := leastPause; len(list) < 12; pause = longer(pause) {
		list = append(list, pause)
	}
	return list
}

// Trouble has b hear of an error on its connection.
func Trouble(b *Bus, err error) { b.trouble(err) }

// StateOf returns what a stream holds.
func StateOf(ctx context.Context, s jetstream.Stream) (State, error) { return state(ctx, s) }
