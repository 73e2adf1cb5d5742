// Package bus carries events between services over NATS JetStream. NATS only delivers: events that it loses are sent again
// from the outbox, and events that it delivers twice are dropped by the inbox.
package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Bus is a connection to NATS that reconnects until it is closed.
type Bus struct {
	nc       *nats.Conn
	js       jetstream.JetStream
	log      *slog.Logger
	replicas int

	mu      sync.Mutex
	streams map[string]bool            // known to exist on this connection
	gaps    map[chan struct{}]struct{} // subscribers of Gaps
}

// Option changes how Connect works.
type Option func(*options)

type options struct {
	nats     []nats.Option
	replicas int
	log      *slog.Logger
}

// WithNATS passes options to the NATS client: credentials, TLS.
func WithNATS(opts ...nats.Option) Option {
	return func(o *options) { o.nats = append(o.nats, opts...) }
}

// WithReplicas sets how many servers of a cluster keep each stream; default 1.
func WithReplicas(n int) Option { return func(o *options) { o.replicas = n } }

// WithLog sets the logger.
func WithLog(log *slog.Logger) Option { return func(o *options) { o.log = log } }

// Connect returns a Bus on the servers at url (comma separated). It succeeds even while no server answers: events wait in the
// outbox until one does.
func Connect(_ context.Context, url string, opts ...Option) (*Bus, error) {
	o := options{replicas: 1, log: slog.New(slog.DiscardHandler)}
	for _, opt := range opts {
		opt(&o)
	}
	b := &Bus{log: o.log, replicas: o.replicas, streams: map[string]bool{}, gaps: map[chan struct{}]struct{}{}}
	nc, err := nats.Connect(url, append(o.nats,
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(200*time.Millisecond),
		nats.ReconnectJitter(300*time.Millisecond, time.Second),
		nats.PingInterval(10*time.Second), nats.MaxPingsOutstanding(2),
		// Publishing while disconnected fails at once: a buffered event could overtake an earlier one that was lost.
		nats.ReconnectBufSize(-1),
		nats.ConnectHandler(func(*nats.Conn) { b.gap() }),
		nats.ReconnectHandler(func(*nats.Conn) { b.log.Info("connected to the bus again"); b.gap() }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { b.lost(err) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { b.trouble(err) }),
	)...)
	if err != nil {
		return nil, fmt.Errorf("connect to the bus: %w", err)
	}
	b.nc = nc
	if b.js, err = jetstream.New(nc, jetstream.WithPublishAsyncTimeout(askTime)); err != nil {
		nc.Close()
		return nil, fmt.Errorf("jetstream: %w", err)
	}
	return b, nil
}

// Close closes the connection; calls that wait for the bus return.
func (b *Bus) Close() { b.nc.Close() }

// Connected reports whether a server answers now.
func (b *Bus) Connected() bool { return b.nc.IsConnected() }

func (b *Bus) lost(err error) {
	if err != nil {
		b.log.Warn("lost the bus", "err", err)
	}
}

func (b *Bus) trouble(err error) {
	b.log.Warn("trouble on the bus", "err", err)
	if errors.Is(err, nats.ErrSlowConsumer) {
		b.gap()
	}
}

// gap signals all subscribers of Gaps.
func (b *Bus) gap() {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.streams)
	for c := range b.gaps {
		select {
		case c <- struct{}{}:
		default: // a signal is waiting already
		}
	}
}

// Gaps returns a channel that gets a value whenever messages may have been missed or streams may be gone, that is after
// every reconnect, and a func that ends the subscription.
func (b *Bus) Gaps() (<-chan struct{}, func()) {
	c := make(chan struct{}, 1)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gaps[c] = struct{}{}
	return c, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.gaps, c)
	}
}
