// Package ip is the service that owns networks, pools and addresses. An address has one owner at a time.
package ip

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/grpc"

	"slipway.dev/pkg/bus"
	"slipway.dev/pkg/fsck"
	"slipway.dev/pkg/idem"
	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/outbox"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/query"
	"slipway.dev/pkg/rpc"
	"slipway.dev/pkg/run"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/internal/keys"
	"slipway.dev/services/ip/internal/rdns"
	"slipway.dev/services/ip/internal/server"
	"slipway.dev/services/ip/internal/store"
	"slipway.dev/services/ip/internal/work"
)

// Config comes from variables that begin with SLIPWAY_IP_. New uses the Options; the others are for ipd.
type Config struct {
	// Database is the URL of the PostgreSQL server; the schema is "ip".
	Database string `env:"DATABASE,required"`
	Listen   string `env:"LISTEN" envDefault:":8102"`
	// Certs is the directory with ca.crt, ip.crt and ip.key.
	Certs string `env:"CERTS,required"`
	NATS  string `env:"NATS" envDefault:"nats://127.0.0.1:4222"`
	// Auth is host and port of the auth service.
	Auth string `env:"AUTH" envDefault:"127.0.0.1:8101"`

	Options
}

// Options are what ipd and slipway up have in common.
type Options struct {
	// Quarantine is how long a released address is given to nobody: somebody may still send to its old owner. Default 5
	// minutes; below zero there is none. The setting quarantine_seconds overrides it.
	Quarantine time.Duration `env:"QUARANTINE"`
	// Lists bounds what a list may cost: LIST_MAX_ROWS and LIST_TIMEOUT.
	Lists query.Limits `envPrefix:"LIST_"`

	// DNSServer is the primary name server of the reverse zones, host and port. It is told PTR records by dynamic update
	// (RFC 2136), signed with the TSIG key (HMAC-SHA256, secret in base64). Without it they are only kept.
	DNSServer     string `env:"DNS_SERVER"`
	DNSTSIGName   string `env:"DNS_TSIG_NAME"`
	DNSTSIGSecret string `env:"DNS_TSIG_SECRET"`
}

// Deps is what the service works with.
type Deps struct {
	Pool *pgxpool.Pool // on the service's schema
	Bus  *bus.Bus
	Auth grpc.ClientConnInterface // the auth service, called in the name of "ip"
	Log  *slog.Logger
}

// Service is the ip service of this process.
type Service struct {
	log    *slog.Logger
	store  *store.Store
	relay  *outbox.Relay
	names  *work.Publisher
	rpc    *rpc.Server
	keeper *idem.Keeper

	bus      *bus.Bus
	verifier *identity.Verifier
}

const defaultQuarantine = 5 * time.Minute

// Migrate brings the schema up to date. New does so too, but then its role must be allowed to change the schema, unless
// there is nothing to change.
func Migrate(ctx context.Context, pool *pgxpool.Pool) error {
	return pg.Migrate(ctx, pool, outbox.Migrations, idem.Migrations, store.Migrations)
}

// New brings the schema up to date and returns the service. Several processes may do so at the same time.
func New(ctx context.Context, cfg Config, d Deps) (*Service, error) {
	switch {
	case d.Auth == nil:
		return nil, errors.New("ip: needs a connection to auth")
	case cfg.Quarantine == 0:
		cfg.Quarantine = defaultQuarantine
	case cfg.Quarantine < 0:
		cfg.Quarantine = 0
	}
	names, err := rdns.New(rdns.Config{Server: cfg.DNSServer, Key: cfg.DNSTSIGName, Secret: cfg.DNSTSIGSecret})
	if err != nil {
		return nil, err
	}
	if err := Migrate(ctx, d.Pool); err != nil {
		return nil, err
	}
	if err := d.Bus.EnsureStream(ctx, "ip"); err != nil {
		d.Log.Warn("the bus is away, events wait in the outbox", "err", err) // the relay makes the stream as well
	}
	s := &Service{
		log: d.Log, relay: outbox.NewRelay(d.Pool, d.Bus, d.Log), keeper: idem.New(d.Pool), bus: d.Bus,
		verifier: identity.NewVerifier(keys.From(d.Auth)),
	}
	s.store = store.New(&unit.DB{
		Pool: d.Pool, Lists: query.NewReader(d.Pool, cfg.Lists), Audit: unit.AuditEvents("ip.v3.audit.recorded"),
		PokeRelay: func() { s.relay.Poke(); s.names.Poke() },
	})
	s.names = work.NewPublisher(s.store, names, d.Log)
	s.rpc = rpc.NewServer(d.Log, s.verifier)
	s.rpc.Audit("ip", s.store.Record)
	s.rpc.Keep(s.keeper)
	server.New(s.store, cfg.Quarantine).Register(s.rpc)
	fsck.Register(s.rpc, fsck.Outbox(d.Pool, "ip"), fsck.Parked(d.Pool), s.store.Overdue)
	return s, s.rpc.Check()
}

// Server carries the service's rpcs.
func (s *Service) Server() *rpc.Server { return s.rpc }

// Run sends events, hears of revocations, publishes PTR records and frees addresses whose reservation lapsed or whose quarantine
// ended, until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	return run.All(ctx, s.relay, s.names, s.keeper,
		run.Func(func(ctx context.Context) error { return work.Sweep(ctx, s.store, s.log) }),
		run.Func(func(ctx context.Context) error { return keys.Watch(ctx, s.bus, s.verifier, s.log) }))
}
