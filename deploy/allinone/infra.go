package allinone

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"slipway.dev/pkg/bus"
	"slipway.dev/pkg/bus/busembed"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/pg/pgembed"
	"slipway.dev/services/vm"
)

// Schemas of the services.
const (
	authSchema = "auth"
	ipSchema   = "ip"
)

// infra is what the services stand on: a database and a bus, ours or given.
type infra struct {
	postgres *pgembed.Server
	nats     *busembed.Server
	pools    map[string]*pgxpool.Pool
	bus      *bus.Bus
}

// shares are those of the services in the connections: vm has as many jobs at once as it has workers, and requests besides.
var shares = map[string]pg.Share{
	authSchema: {Replicas: 1, Weight: 2}, ipSchema: {Replicas: 1, Weight: 3}, vm.Schema: {Replicas: 1, Weight: 5},
}

// maxConnections is what a PostgreSQL takes that was not configured, and the private one unless the services need more.
const maxConnections = 100

// withConns bounds the pool that is made of a URL, unless the URL does.
func withConns(url string, n int) string {
	const key = "pool_max_conns="
	switch {
	case strings.Contains(url, key):
		return url
	case strings.Contains(url, "?"):
		return fmt.Sprintf("%s&%s%d", url, key, n)
	default:
		return fmt.Sprintf("%s?%s%d", url, key, n)
	}
}

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
	url, most := cfg.PostgresURL, maxConnections
	if url == "" {
		most = max(most, pg.Need(shares))
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
		if i.pools[schema], err = pg.Open(ctx, withConns(url, conns), schema); err != nil {
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
