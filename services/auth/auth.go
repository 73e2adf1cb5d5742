// Package auth is the service that owns accounts, roles, sessions and tokens, and signs who asks.
package auth

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"slipway.dev/pkg/bus"
	"slipway.dev/pkg/idem"
	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/outbox"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/query"
	"slipway.dev/pkg/rpc"
	"slipway.dev/pkg/run"
	"slipway.dev/services/auth/internal/domain"
	"slipway.dev/services/auth/internal/password"
	"slipway.dev/services/auth/internal/server"
	"slipway.dev/services/auth/internal/store"
)

// Config comes from variables that begin with SLIPWAY_AUTH_. New uses the last three only; the others are for authd.
type Config struct {
	// Database is the URL of the PostgreSQL server; the schema is "auth".
	Database string `env:"DATABASE,required"`
	Listen   string `env:"LISTEN" envDefault:":8101"`
	// Certs is the directory with ca.crt, auth.crt and auth.key.
	Certs string `env:"CERTS,required"`
	NATS  string `env:"NATS" envDefault:"nats://127.0.0.1:4222"`

	// AdminEmail and AdminPassword are for the first administrator, made when there is no account at all.
	AdminEmail    string `env:"ADMIN_EMAIL"` // default admin@example.com
	AdminPassword string `env:"ADMIN_PASSWORD"`
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
	cfg      Config
	log      *slog.Logger
	store    *store.Store
	relay    *outbox.Relay
	handlers *server.Server
	rpc      *rpc.Server
	keeper   *idem.Keeper
}

const cleaning = time.Minute

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
	if err := pg.Migrate(ctx, d.Pool, outbox.Migrations, idem.Migrations, store.Migrations); err != nil {
		return nil, err
	}
	if err := d.Bus.EnsureStream(ctx, "auth"); err != nil {
		d.Log.Warn("the bus is away, events wait in the outbox", "err", err) // the relay makes the stream as well
	}
	hasher, err := password.New()
	if err != nil {
		return nil, err
	}
	s := &Service{cfg: cfg, log: d.Log, relay: outbox.NewRelay(d.Pool, d.Bus, d.Log), keeper: idem.New(d.Pool)}
	s.store = store.New(d.Pool, cfg.Lists, s.relay.Poke)
	signer, err := s.signer(ctx)
	if err != nil {
		return nil, fmt.Errorf("signing key: %w", err)
	}
	s.handlers = server.New(s.store, hasher, signer, server.Config{TokenTTL: cfg.TokenTTL, Now: d.Now, Sealer: unsealed{}})
	if err := s.firstAdmin(ctx); err != nil {
		return nil, fmt.Errorf("first administrator: %w", err)
	}
	s.rpc = rpc.NewServer(d.Log, identity.NewVerifier(s.keys))
	s.rpc.Keep(s.keeper)
	s.handlers.Register(s.rpc)
	return s, s.rpc.Check()
}

// Server carries the service's rpcs.
func (s *Service) Server() *rpc.Server { return s.rpc }

// Run sends events and removes what is dead until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	return run.All(ctx, s.relay, s.keeper, run.Func(s.clean))
}

// AdminIdentity signs for the first administrator, as long as any identity: for the installation's own set-up work in
// the same process, which asks anew for each of its calls.
func (s *Service) AdminIdentity(ctx context.Context) (string, error) {
	a, err := s.store.FirstAdmin(ctx)
	if err != nil {
		return "", err
	}
	text, _, err := s.handlers.Sign(a, 0, domain.IdentityLife)
	return text, err
}

func (s *Service) clean(ctx context.Context) error {
	tick := time.NewTicker(cleaning)
	defer tick.Stop()
	for {
		if err := s.store.DeleteDead(ctx, s.cfg.TokenTTL); err != nil && ctx.Err() == nil {
			s.log.Warn("dead tokens stay for now", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// signer reads the newest signing key, or makes the first.
func (s *Service) signer(ctx context.Context) (*identity.Signer, error) {
	var signer *identity.Signer
	err := s.store.InTx(ctx, func(tx store.Tx) error {
		if err := tx.Lock(ctx, "signing key"); err != nil {
			return err
		}
		keys, err := tx.SigningKeys(ctx)
		if err != nil {
			return err
		}
		if len(keys) == 0 {
			k := newKey()
			if err := tx.AddSigningKey(ctx, k); err != nil {
				return err
			}
			keys = append(keys, k)
		}
		signer = identity.NewSigner(keys[0].ID, keys[0].Private())
		return nil
	})
	return signer, err
}

func newKey() store.SigningKey {
	var b [ed25519.SeedSize + 4]byte
	_, _ = rand.Read(b[:]) // never fails
	return store.SigningKey{ID: hex.EncodeToString(b[ed25519.SeedSize:]), Seed: b[:ed25519.SeedSize]}
}

// keys is how this service's own verifier gets them.
func (s *Service) keys(ctx context.Context) (map[string]ed25519.PublicKey, error) {
	list, err := s.store.SigningKeys(ctx)
	keys := map[string]ed25519.PublicKey{}
	for _, k := range list {
		keys[k.ID] = k.Private().Public().(ed25519.PublicKey)
	}
	return keys, err
}

// firstAdmin makes an administrator when there is no account at all.
func (s *Service) firstAdmin(ctx context.Context) error {
	none := false
	look := func(tx store.Tx) (bool, error) {
		if err := tx.Lock(ctx, "first administrator"); err != nil {
			return false, err
		}
		some, err := tx.AnyAccount(ctx)
		none = !some
		return none, err
	}
	err := s.store.InTx(ctx, func(tx store.Tx) error { _, err := look(tx); return err })
	if err != nil || !none {
		return err
	}
	if s.cfg.AdminPassword == "" {
		return errors.New("there is no account yet: set SLIPWAY_AUTH_ADMIN_PASSWORD, or SLIPWAY_AUTH_ADMIN_PASSWORD_FILE")
	}
	_, err = s.handlers.AddAccount(ctx, server.NewAccount{
		Email: s.cfg.AdminEmail, Password: s.cfg.AdminPassword, Role: identity.RoleAdmin,
	}, look, func(store.Tx, int32) error { return nil })
	return err
}

// unsealed stands in for encryption at rest.
type unsealed struct{}

func (unsealed) Seal(plain []byte, _ string) []byte           { return plain }
func (unsealed) Open(sealed []byte, _ string) ([]byte, error) { return sealed, nil }
