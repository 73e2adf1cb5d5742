package allinone

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"slipway.dev/deploy/parts"
	"slipway.dev/pkg/bus"
	"slipway.dev/pkg/bus/busembed"
	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/outbox"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/pg/pgembed"
)

// infra is what the services stand on: a database and a bus, ours or given.
type infra struct {
	postgres *pgembed.Server
	nats     *busembed.Server
	pools    map[string]*pgxpool.Pool
	guard    *pg.Guard // of all pools
	bus      *bus.Bus
}

// maxConnections is what the services share at most, unless they need more: what a PostgreSQL allows that was not configured.
const maxConnections = 100

// start starts or reaches database and bus.
func start(ctx context.Context, cfg Config, log *slog.Logger) (*infra, error) {
	i := &infra{pools: map[string]*pgxpool.Pool{}, guard: pg.NewGuard()}
	if err := i.start(ctx, cfg, log); err != nil {
		i.stop()
		return nil, err
	}
	return i, nil
}

func (i *infra) start(ctx context.Context, cfg Config, log *slog.Logger) (err error) {
	shares := parts.Shares(parts.All(), 1)
	url, most := cfg.PostgresURL, max(maxConnections, pg.Need(shares))
	if url != "" {
		allowed, err := pg.Allowed(ctx, url)
		if err != nil {
			return err
		}
		most = min(most, allowed)
	} else {
		if i.postgres, err = pgembed.Start(ctx, pgembed.Config{
			Dir: filepath.Join(cfg.Data, "postgres"), Log: log, MaxConnections: most,
		}); err != nil {
			return err
		}
		url = i.postgres.URL()
	}
	connections, err := pg.Budget(most, shares)
	if err != nil {
		return err
	}
	for schema, conns := range connections {
		if i.pools[schema], err = pg.Open(ctx, parts.WithConns(url, conns), schema, pg.Guarded(i.guard)); err != nil {
			return err
		}
	}
	opts := []bus.Option{bus.WithLog(log), bus.WithReplicas(cfg.NATSReplicas)}
	if cfg.NATSMaxMiB > 0 {
		opts = append(opts, bus.WithMaxBytes(int64(cfg.NATSMaxMiB)<<20))
	}
	if cfg.NATSURL != "" {
		i.bus, err = bus.Connect(ctx, cfg.NATSURL, opts...)
		return err
	}
	if i.nats, err = busembed.Start(busembed.Config{Dir: filepath.Join(cfg.Data, "nats"), Log: log}); err != nil {
		return err
	}
	i.bus, err = i.nats.Connect(ctx, opts...)
	return err
}

// Run returns an error if the private database ends unexpectedly.
func (i *infra) Run(ctx context.Context) error {
	var ended <-chan struct{}
	if i.postgres != nil {
		ended = i.postgres.Done()
	}
	select {
	case <-ctx.Done():
		return nil
	case <-ended:
		return errors.New("the private PostgreSQL ended unexpectedly; its log is in the data directory")
	}
}

// lateEvents is how long an event may wait for the bus before the installation says that it is not ready.
const lateEvents = time.Minute

// ready returns a fault when database or bus do not answer, the bus cannot store events, or events wait for it.
func (i *infra) ready(ctx context.Context) error {
	for schema, p := range i.pools {
		if err := p.Ping(ctx); err != nil {
			return fault.Unavailable.With("the database of %s is away", schema).Wrap(err)
		}
	}
	if i.nats != nil {
		if err := i.nats.Ready(); err != nil {
			return fault.Unavailable.With("the event bus cannot store events").Wrap(err)
		}
	}
	if !i.bus.Connected() {
		return fault.Unavailable.With("the event bus is away")
	}
	for schema, p := range i.pools {
		switch n, age, err := outbox.Waiting(ctx, p); {
		case err != nil:
			return fault.Unavailable.With("the database of %s is away", schema).Wrap(err)
		case age > lateEvents:
			return fault.Unavailable.With("%d events of %s wait for the event bus, the oldest for %v", n, schema, age.Round(time.Second))
		}
	}
	return nil
}

// stop lets go of everything, in the order opposite to start.
func (i *infra) stop() {
	if i.bus != nil {
		i.bus.Close()
	}
	if i.nats != nil {
		i.nats.Stop()
	}
	for _, p := range i.pools {
		if p != nil {
			p.Close()
		}
	}
	if i.postgres != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		_ = i.postgres.Stop(ctx) // when it is too slow it is stopped at once, and recovers at the next start
	}
}
