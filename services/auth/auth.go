// Package auth is the service that owns accounts, roles, sessions and tokens, and signs the identities of callers.
package auth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	auditpb "slipway.dev/proto/audit/v1"

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
	"slipway.dev/services/auth/internal/account"
	"slipway.dev/services/auth/internal/audit"
	"slipway.dev/services/auth/internal/credential"
	"slipway.dev/services/auth/internal/guess"
	"slipway.dev/services/auth/internal/keyring"
	"slipway.dev/services/auth/internal/schema"
	"slipway.dev/services/auth/internal/seal"
	"slipway.dev/services/internal/keys"
)

// Config comes from variables that begin with SLIPWAY_AUTH_. New uses those from MasterKey on; the others are for authd.
type Config struct {
	// Database is the URL of the PostgreSQL server; the schema is "auth".
	Database string `env:"DATABASE,required"`
	Listen   string `env:"LISTEN" envDefault:":8101"`
	// Certs is the directory with ca.crt, auth.crt and auth.key.
	Certs string `env:"CERTS,required"`
	NATS  string `env:"NATS" envDefault:"nats://127.0.0.1:4222"`

	// MasterKey is 32 random bytes in base64 that seal secrets in the database; without it they cannot be read, so keep it
	// apart from the database's backups. To replace it, give several with a comma between them: first the new one last, to
	// every process, then the new one first. What the old one sealed is sealed anew then, and it can go.
	MasterKey string `env:"MASTER_KEY"`

	// AdminEmail and AdminPassword are for the first administrator, made when there is no account at all.
	AdminEmail    string `env:"ADMIN_EMAIL"` // default admin@example.com
	AdminPassword string `env:"ADMIN_PASSWORD"`

	Options
}

// Options are what authd and slipway up have in common.
type Options struct {
	// TokenTTL is how long a session may be unused, where the setting token_ttl says nothing. Default an hour.
	TokenTTL time.Duration `env:"TOKEN_TTL"`
	// Lists bounds what a list may cost: LIST_MAX_ROWS and LIST_TIMEOUT.
	Lists query.Limits `envPrefix:"LIST_"`
}

// Deps is what the service works with.
type Deps struct {
	Pool *pgxpool.Pool // on the service's schema
	Bus  *bus.Bus
	Log  *slog.Logger
	Now  func() time.Time // default time.Now
}

// Service is the auth service of this process.
type Service struct {
	cfg    Config
	log    *slog.Logger
	db     *unit.DB
	ring   *keyring.Ring
	relay  *outbox.Relay
	rooms  *rooms
	rpc    *rpc.Server
	keeper *idem.Keeper

	bus      *bus.Bus
	pool     *pgxpool.Pool
	verifier *identity.Verifier
	linker   *audit.Linker
}

const cleaning = time.Minute

// Migrate brings the schema up to date. New does so too, but then its role must be allowed to change the schema, unless
// there is nothing to change.
func Migrate(ctx context.Context, pool *pgxpool.Pool) error {
	return pg.Migrate(ctx, pool, outbox.Migrations, idem.Migrations, schema.Migrations)
}

// New brings the schema up to date, makes the signing key and the first administrator if there is none, and returns the
// service. Several processes may do so at the same time.
func New(ctx context.Context, cfg Config, d Deps) (*Service, error) {
	cfg.AdminEmail = cmp.Or(cfg.AdminEmail, "admin@example.com")
	cfg.TokenTTL = cmp.Or(cfg.TokenTTL, time.Hour)
	if d.Now == nil {
		d.Now = time.Now
	}
	if cfg.TokenTTL < time.Minute {
		return nil, fmt.Errorf("auth: a token_ttl of %s is below a minute", cfg.TokenTTL)
	}
	box, err := masterKey(cfg.MasterKey)
	if err != nil {
		return nil, err
	}
	if err := Migrate(ctx, d.Pool); err != nil {
		return nil, err
	}
	if err := d.Bus.EnsureStream(ctx, "auth"); err != nil {
		d.Log.Warn("the bus is away, events wait in the outbox", "err", err) // the relay makes the stream as well
	}
	s := &Service{
		cfg: cfg, log: d.Log, relay: outbox.NewRelay(d.Pool, d.Bus, d.Log), keeper: idem.New(d.Pool), bus: d.Bus, pool: d.Pool,
		linker: audit.NewLinker(d.Pool, d.Log),
	}
	s.db = &unit.DB{
		Pool: d.Pool, Lists: query.NewReader(d.Pool, cfg.Lists), Audit: s.record, PokeRelay: s.relay.Poke,
	}
	if s.ring, err = keyring.Open(ctx, s.db, box); err != nil {
		return nil, fmt.Errorf("signing keys: %w", err)
	}
	if s.rooms, err = newRooms(s.db, s.ring, box, cfg.TokenTTL, d.Now); err != nil {
		return nil, err
	}
	if err := s.rooms.MFA.Reseal(ctx); err != nil {
		return nil, fmt.Errorf("secrets in the database: %w", err)
	}
	if err := s.rooms.AddFirst(ctx, cfg.AdminEmail, cfg.AdminPassword); err != nil {
		return nil, fmt.Errorf("first administrator: %w", err)
	}
	s.verifier = identity.NewVerifier(s.ring.Public)
	s.rpc = rpc.NewServer(d.Log, s.verifier)
	s.rpc.Audit("auth", s.db.Record)
	s.rpc.Keep(s.keeper)
	s.rooms.register(s.rpc)
	fsck.Register(s.rpc, fsck.Outbox(d.Pool, "auth"), fsck.Parked(d.Pool))
	return s, s.rpc.Check()
}

// Server carries the service's rpcs.
func (s *Service) Server() *rpc.Server { return s.rpc }

// Run sends events, receives revocations and the records of other services, links all records, and removes credentials that ended,
// until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	return run.All(ctx, s.relay, s.keeper, run.Func(s.clean), s.linker, s.records("vm"), s.records("ip"),
		run.Func(func(ctx context.Context) error { return keys.Watch(ctx, s.bus, s.verifier, s.log) }))
}

// record stores the record of a call of auth's own, and wakes the linker once the record has committed.
func (s *Service) record(ctx context.Context, tx *unit.Tx, r *auditpb.Record) error {
	tx.AfterCommit(s.linker.Poke)
	return audit.Write(ctx, tx, "", r)
}

// records stores what another service records.
func (s *Service) records(service string) run.Service {
	c := bus.Consumer{Name: "auth-audit-" + service, Service: service, Subjects: []string{service + ".v3.audit.recorded"}}
	return run.Func(func(ctx context.Context) error {
		return s.bus.Consume(ctx, s.pool, c, func(ctx context.Context, tx pgx.Tx, e bus.Event) error {
			var r auditpb.Record
			if err := e.Decode(&r); err != nil {
				return err
			}
			r.Service = service // whatever it says
			return audit.Write(ctx, unit.In(tx), e.ID, &r)
		})
	})
}

// AdminIdentity signs for the first administrator, as long as any identity: for the installation's own set-up work in
// the same process, which asks anew for each of its calls.
func (s *Service) AdminIdentity(ctx context.Context) (string, error) {
	a, err := account.FirstAdmin(ctx, s.db)
	if err != nil {
		return "", err
	}
	text, _, err := s.rooms.Sign(a.Identity(0, s.rooms.powers), identity.MaxLife)
	return text, err
}

func (s *Service) clean(ctx context.Context) error {
	tick := time.NewTicker(cleaning)
	defer tick.Stop()
	for {
		err := guess.Clean(ctx, s.db)
		if err == nil {
			err = credential.Clean(ctx, s.db, s.cfg.TokenTTL)
		}
		if err != nil && ctx.Err() == nil {
			s.log.Warn("dead tokens stay for now", "err", err)
		}
		if err := s.ring.Renew(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("the signing keys stay as they are for now", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// NewMasterKey makes a key for Config.MasterKey.
func NewMasterKey() string { return seal.NewKey() }

func masterKey(text string) (*seal.Box, error) {
	if text == "" {
		return nil, errors.New("auth: set SLIPWAY_AUTH_MASTER_KEY_FILE to a file with 32 random bytes in base64, as " +
			"`openssl rand -base64 32` makes them, the same for every process; it seals secrets in the database: keep it")
	}
	box, err := seal.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("auth: SLIPWAY_AUTH_MASTER_KEY: %w", err)
	}
	return box, nil
}
