package allinone

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"slipway.dev/deploy/parts"
	"slipway.dev/pkg/bus"
	"slipway.dev/pkg/bus/busembed"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/pg/pgembed"
)

// infra is what the services stand on: a database and a bus, ours or given.
type infra struct {
	postgres *pgembed.Server
	nats     *busembed.Server
	pools    map[string]*pgxpool.Pool
	bus      *bus.Bus
}

// maxConnections is what the services share at most, unless they need more: what a PostgreSQL allows that was not configured.
const maxConnections = 100

// start starts or reaches database and bus.
func start(ctx context.Context, cfg Config, log *slog.Logger) (*infra, error) {
	i := &infra{pools: map[string]*pgxpool.Pool{}}
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
		if i.pools[schema], err = pg.Open(ctx, parts.WithConns(url, conns), schema); err != nil {
			return err
		}
	}
	if cfg.NATSURL != "" {
		i.bus, err = bus.Connect(ctx, cfg.NATSURL, bus.WithLog(log))
		return err
	}
	if i.nats, err = busembed.Start(busembed.Config{Dir: filepath.Join(cfg.Data, "nats"), Log: log}); err != nil {
		return err
	}
	i.bus, err = i.nats.Connect(ctx, bus.WithLog(log))
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

// ready returns an error when database or bus do not answer.
func (i *infra) ready(ctx context.Context) error {
	for schema, p := range i.pools {
		if err := p.Ping(ctx); err != nil {
			return fmt.Errorf("database of %s: %w", schema, err)
		}
	}
	if !i.bus.Connected() {
		return errors.New("the event bus is away")
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
