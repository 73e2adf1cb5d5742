// Package bus carries events between services over NATS JetStream. NATS only delivers: events that it loses are sent again
// from the outbox, and events that it delivers twice are dropped by the inbox.
package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
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
	if b.js, err = jetstream.New(nc, jetstream.WithPublishAsyncTimeout(10*time.Second)); err != nil {
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

const (
	streamAge    = 14 * 24 * time.Hour
	dedupeWindow = 10 * time.Minute
)

// EnsureStream makes the stream of a service, which holds everything under "<service>.".
func (b *Bus) EnsureStream(ctx context.Context, service string) error {
	b.mu.Lock()
	known := b.streams[service]
	b.mu.Unlock()
	if known {
		return nil
	}
	_, err := b.stream(ctx, service)
	return err
}

// StreamCreated returns the time at which the stream of a service was made; it makes a missing stream. If the time has changed
// since an earlier call, the stream was replaced and the events of the old one are lost.
func (b *Bus) StreamCreated(ctx context.Context, service string) (time.Time, error) {
	s, err := b.stream(ctx, service)
	if err != nil {
		return time.Time{}, err
	}
	return s.CachedInfo().Created, nil
}

func (b *Bus) stream(ctx context.Context, service string) (jetstream.Stream, error) {
	ctx, stop := context.WithTimeout(ctx, 5*time.Second)
	defer stop()
	s, err := b.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name:       service,
		Subjects:   []string{service + ".>"},
		Storage:    jetstream.FileStorage,
		Retention:  jetstream.LimitsPolicy,
		Discard:    jetstream.DiscardOld,
		MaxAge:     streamAge,
		Duplicates: dedupeWindow,
		Replicas:   b.replicas,
	})
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", service, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.streams[service] = true
	return s, nil
}

// stream returns the name of the stream that holds e, which is the name of the service that emitted e.
func stream(e Event) string {
	service, _, _ := strings.Cut(e.Subject, ".")
	return service
}

// Publish sends events in order and waits until JetStream has them on disk. It returns how many of them, from the first, are
// on disk. The others may have arrived or not; the caller must publish them again.
func (b *Bus) Publish(ctx context.Context, events ...Event) (int, error) {
	for _, e := range events {
		if err := b.EnsureStream(ctx, stream(e)); err != nil {
			return 0, err
		}
	}
	acks, sendErr := b.send(events)
	for i, ack := range acks {
		select {
		case <-ack.Ok():
		case err := <-ack.Err():
			b.forget()
			return i, fmt.Errorf("publish %s: %w", events[i].Subject, err)
		case <-ctx.Done():
			return i, ctx.Err()
		}
	}
	return len(acks), sendErr
}

// send sends events and stops at the first error: an event must not overtake an earlier one that was lost with the connection.
// Each event but the first names its predecessor, so that JetStream refuses the event unless the predecessor arrived before it.
// A refused event is the first of the next Publish.
func (b *Bus) send(events []Event) ([]jetstream.PubAckFuture, error) {
	acks := make([]jetstream.PubAckFuture, 0, len(events))
	link := b.nc.Stats().Reconnects
	for i, e := range events {
		if b.nc.Stats().Reconnects != link {
			return acks, nats.ErrDisconnected
		}
		opts := []jetstream.PublishOpt{jetstream.WithRetryAttempts(0)}
		if i > 0 && stream(events[i-1]) == stream(e) {
			opts = append(opts, jetstream.WithExpectLastMsgID(events[i-1].ID))
		}
		ack, err := b.js.PublishMsgAsync(e.message(), opts...)
		if err != nil {
			return acks, fmt.Errorf("publish %s: %w", e.Subject, err)
		}
		acks = append(acks, ack)
	}
	return acks, nil
}

// forget makes the next Publish check its streams again, because one of them may have been deleted.
func (b *Bus) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.streams)
}
