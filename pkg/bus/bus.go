// Package bus carries events between services over NATS JetStream. NATS only delivers: events that it loses are sent again
// from the outbox, and events that it delivers twice are dropped by the inbox.
package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
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
	own      string // the service whose account this is, when the streams of others are in other accounts
	log      *slog.Logger
	replicas int
	most     int64 // bytes of a stream
	patience time.Duration
	reports  time.Duration

	mu      sync.Mutex
	streams map[string]bool             // known to exist on this connection
	lookups map[string]jetstream.Stream // where IDAt asks
	gaps    map[chan struct{}]struct{}  // subscribers of Gaps
}

// Option changes how Connect works.
type Option func(*options)

type options struct {
	nats     []nats.Option
	replicas int
	most     int64
	patience time.Duration
	reports  time.Duration
	log      *slog.Logger
}

// WithNATS passes options to the NATS client: credentials, TLS. They stand above the ones of this package.
func WithNATS(opts ...nats.Option) Option {
	return func(o *options) { o.nats = append(o.nats, opts...) }
}

// WithReplicas sets how many servers of a cluster keep each stream. By default, and for 0, they are three if the cluster has three,
// else one.
func WithReplicas(n int) Option { return func(o *options) { o.replicas = n } }

// WithMaxBytes bounds each stream; default 1 GiB. A full stream takes no further events, which wait in the outbox: its relay makes
// room, but removes only what every reader has read.
func WithMaxBytes(n int64) Option { return func(o *options) { o.most = n } }

// WithPatience sets after how long a question to JetStream is asked again; default 500 ms.
func WithPatience(d time.Duration) Option { return func(o *options) { o.patience = d } }

// WithReports sets the longest time between two reports of a consumer on how far it has read; default 5 s.
func WithReports(every time.Duration) Option { return func(o *options) { o.reports = every } }

// WithLog sets the logger.
func WithLog(log *slog.Logger) Option { return func(o *options) { o.log = log } }

// Connect returns a Bus on the servers at a URL (comma separated). It succeeds even while no server answers: events wait in the
// outbox until one does.
func Connect(_ context.Context, at string, opts ...Option) (*Bus, error) {
	o := options{most: mostBytes, patience: patience, reports: reporting, log: slog.New(slog.DiscardHandler)}
	for _, opt := range opts {
		opt(&o)
	}
	b := &Bus{
		log: o.log, replicas: o.replicas, most: o.most, patience: o.patience, reports: o.reports,
		streams: map[string]bool{}, lookups: map[string]jetstream.Stream{}, gaps: map[chan struct{}]struct{}{},
	}
	at, b.own = servers(at)
	nc, err := nats.Connect(at, append([]nats.Option{
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(200 * time.Millisecond),
		nats.ReconnectJitter(300*time.Millisecond, time.Second),
		nats.PingInterval(10 * time.Second), nats.MaxPingsOutstanding(2),
		// Publishing while disconnected fails at once: a buffered event could overtake an earlier one that was lost.
		nats.ReconnectBufSize(-1),
		nats.ConnectHandler(func(*nats.Conn) { b.gap() }),
		nats.ReconnectHandler(func(*nats.Conn) { b.log.Info("connected to the bus again"); b.gap() }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { b.lost(err) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { b.trouble(err) }),
	}, o.nats...)...)
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

// OwnAccount is the query of a URL of NATS for a service whose account holds no stream but its own. Those of other services are
// reached by the subjects that begin with ForeignAPI.
const OwnAccount = "account=own"

// ForeignAPI returns how the subjects of JetStream's API begin for the stream of a service in an account of its own.
func ForeignAPI(service string) string { return "slipway." + service }

// servers returns the servers of a URL without the query, and the user if the query says that the account is the user's own.
func servers(text string) (string, string) {
	list, own := strings.Split(text, ","), ""
	for i, server := range list {
		at, query, _ := strings.Cut(server, "?")
		list[i] = at
		if u, err := url.Parse(at); err == nil && query == OwnAccount {
			own = u.User.Username()
		}
	}
	return strings.Join(list, ","), own
}

// Offline returns a Bus that never connects, for a process that leaves its events to another one.
func Offline(ctx context.Context) (*Bus, error) {
	return Connect(ctx, "", WithNATS(nats.InProcessServer(nowhere{})))
}

type nowhere struct{}

func (nowhere) InProcessConn() (net.Conn, error) { return nil, nats.ErrNoServers }

// of returns the client for the stream of a service.
func (b *Bus) of(service string) (jetstream.JetStream, error) {
	if b.own == "" || b.own == service {
		return b.js, nil
	}
	return jetstream.NewWithAPIPrefix(b.nc, ForeignAPI(service))
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
