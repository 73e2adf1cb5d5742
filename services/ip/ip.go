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
	"slipway.dev/services/ip/internal/address"
	"slipway.dev/services/ip/internal/network"
	"slipway.dev/services/ip/internal/pool"
	"slipway.dev/services/ip/internal/rdns"
	"slipway.dev/services/ip/internal/schema"
	"slipway.dev/services/ip/internal/setting"
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
	// Quarantine is how long a released address is not given to another owner, because packets for the old owner may
	// still arrive. The default is 5 minutes; a negative value turns the quarantine off. The setting quarantine_seconds
	// overrides it.
	Quarantine time.Duration `env:"QUARANTINE"`
	// Lists bounds what a list may cost: LIST_MAX_ROWS and LIST_TIMEOUT.
	Lists query.Limits `envPrefix:"LIST_"`

	// DNSServer is the primary name server of the reverse zones, host and port. ip publishes PTR records there by
	// dynamic update (RFC 2136), signed with the TSIG key (HMAC-SHA256, secret in base64). Without a server ip only
	// keeps the records.
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
	db     *unit.DB
	relay  *outbox.Relay
	names  *rdns.Publisher
	rpc    *rpc.Server
	keeper *idem.Keeper

	bus      *bus.Bus
	verifier *identity.Verifier
}

const defaultQuarantine = 5 * time.Minute

// Migrate brings the schema up to date. New does so too, but then its role must be allowed to change the schema, unless
// there is nothing to change.
func Migrate(ctx context.Context, pool *pgxpool.Pool) error {
	return pg.Migrate(ctx, pool, outbox.Migrations, idem.Migrations, schema.Migrations)
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
	s.db = &unit.DB{
		Pool: d.Pool, Lists: query.NewReader(d.Pool, cfg.Lists), Audit: unit.AuditEvents("ip.v3.audit.recorded"),
		PokeRelay: func() { s.relay.Poke(); s.names.Poke() },
	}
	var err error
	s.names, err = rdns.NewPublisher(s.db, rdns.Config{Server: cfg.DNSServer, Key: cfg.DNSTSIGName, Secret: cfg.DNSTSIGSecret}, d.Log)
	if err != nil {
		return nil, err
	}
	s.rpc = rpc.NewServer(d.Log, s.verifier)
	s.rpc.Audit("ip", s.db.Record)
	s.rpc.Keep(s.keeper)
	register(s.rpc, s.db, cfg.Quarantine)
	fsck.Register(s.rpc, fsck.Outbox(d.Pool, "ip"), fsck.Parked(d.Pool), address.Overdue(s.db))
	return s, s.rpc.Check()
}

// register adds the rpcs of all rooms. Networks and pools are nouns below addresses: what their changes do to addresses
// is passed to them here.
func register(r *rpc.Server, db *unit.DB, quarantine time.Duration) {
	setting.Register(r, db, quarantine)
	network.Register(r, db, address.MoveGateway)
	pool.Register(r, db, pool.Addresses{Add: address.AddRange, Remove: address.RemoveRange})
	address.Register(r, db, quarantine)
}

// Server returns the server with the service's rpcs.
func (s *Service) Server() *rpc.Server { return s.rpc }

// Run sends events, applies revocations, publishes PTR records, and frees addresses whose reservation lapsed or whose
// quarantine ended, until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	return run.All(ctx, s.relay, s.names, s.keeper,
		run.Func(func(ctx context.Context) error { return address.Sweep(ctx, s.db, s.log) }),
		run.Func(func(ctx context.Context) error { return keys.Watch(ctx, s.bus, s.verifier, s.log) }))
}
