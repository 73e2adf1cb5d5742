// Package auth is the service that owns accounts, roles, sessions and tokens, and signs the identities of callers.
package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	auditpb "slipway.dev/proto/audit/v1"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/bus"
	"slipway.dev/pkg/conf"
	"slipway.dev/pkg/lead"
	"slipway.dev/pkg/query"
	"slipway.dev/pkg/run"
	"slipway.dev/pkg/service"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/auth/internal/audit"
	"slipway.dev/services/auth/internal/keyring"
	"slipway.dev/services/auth/internal/schema"
	"slipway.dev/services/auth/internal/seal"
	"slipway.dev/services/auth/internal/server"
)

// Config comes from variables that begin with SLIPWAY_AUTH_.
type Config struct {
	// MasterKey is 32 random bytes in base64 that seal secrets in the database; without it they cannot be read, so
	// keep it apart from the database's backups. To replace it, give several with a comma between them: first the new
	// one last, to every process, then the new one first. What the old one sealed is sealed anew then, and it can go.
	MasterKey string `env:"MASTER_KEY"`

	// AdminEmail and AdminPassword are for the first administrator, made when there is no account at all.
	AdminEmail    string `env:"ADMIN_EMAIL"    envDefault:"admin@example.com"`
	AdminPassword string `env:"ADMIN_PASSWORD"`

	// TokenTTL is how long a session may be unused, where the setting token_ttl says nothing.
	TokenTTL time.Duration `env:"TOKEN_TTL" envDefault:"1h"`
	// Lists bounds what a list may cost: LIST_MAX_ROWS and LIST_TIMEOUT.
	Lists query.Limits `envPrefix:"LIST_"`
}

// Service is the auth service of this process.
type Service struct {
	*service.Service
	cfg    Config
	now    func() time.Time
	box    *seal.Box
	log    *slog.Logger
	ring   *keyring.Ring
	server *server.Server
	linker *audit.Linker
}

const cleaning = time.Minute

// Migrate brings the schema up to date. New does so too, but then its role must be allowed to change the schema, unless
// there is nothing to change.
func Migrate(ctx context.Context, pool *pgxpool.Pool) error {
	return service.Spec{Tables: schema.Migrations}.Migrate(ctx, pool)
}

// New brings the schema up to date, makes the signing key and the first administrator if there is none, and returns the
// service. Several processes may do so at the same time.
func New(ctx context.Context, cfg Config, d service.Deps) (*Service, error) {
	return newAt(ctx, cfg, d, nil)
}

// newAt is New with a clock; nil is the clock of the machine.
func newAt(ctx context.Context, cfg Config, d service.Deps, now func() time.Time) (*Service, error) {
	if err := conf.Defaults(&cfg); err != nil {
		return nil, err
	}
	if now == nil {
		now = time.Now
	}
	if cfg.TokenTTL < time.Minute {
		return nil, fmt.Errorf("auth: a token_ttl of %s is below a minute", cfg.TokenTTL)
	}
	box, err := masterKey(cfg.MasterKey)
	if err != nil {
		return nil, err
	}
	s := &Service{cfg: cfg, now: now, box: box, log: d.Log, linker: audit.NewLinker(d.Log)}
	s.Service, err = service.New(ctx, service.Spec{
		Name: "auth", Tables: schema.Migrations, Lists: cfg.Lists, Audit: s.record, Build: s.build,
	}, d)
	return s, err
}

func (s *Service) build(ctx context.Context, k *service.Kit) (parts service.Parts, err error) {
	if s.ring, err = keyring.Open(ctx, k.DB, s.box); err != nil {
		return parts, fmt.Errorf("signing keys: %w", err)
	}
	var hosts vmpb.AccountServiceClient
	if vm := k.Peers["vm"]; vm != nil { // vm calls auth too, so neither can demand that the other is there first
		hosts = vmpb.NewAccountServiceClient(vm)
	}
	if s.server, err = server.New(k.DB, s.ring, s.box, s.cfg.TokenTTL, s.now, hosts); err != nil {
		return parts, err
	}
	if err := s.server.Reseal(ctx); err != nil {
		return parts, fmt.Errorf("secrets in the database: %w", err)
	}
	if err := s.server.AddFirst(ctx, s.cfg.AdminEmail, s.cfg.AdminPassword); err != nil {
		return parts, fmt.Errorf("first administrator: %w", err)
	}
	s.server.Register(k.Server)
	return service.Parts{
		Keys:      s.ring.Public,
		Consumers: []service.Consumer{records("vm"), records("ip")},
		Duties:    []lead.Duty{s.linker.Duty()},
		Loops:     []run.Func{s.clean},
	}, nil
}

// record stores the record of a call of auth's own, and wakes the linker once the record has committed.
func (s *Service) record(ctx context.Context, tx *unit.Tx, r *auditpb.Record) error {
	tx.AfterCommit(s.linker.Poke)
	return audit.Write(ctx, tx, "", r)
}

// records stores what another service records.
func records(from string) service.Consumer {
	return service.Consumer{Name: "auth-audit-" + from, From: from, On: map[string]bus.Handle{
		from + ".v3.audit.recorded": func(ctx context.Context, tx pgx.Tx, e bus.Event) error {
			var r auditpb.Record
			if err := e.Decode(&r); err != nil {
				return err
			}
			r.Service = from // whatever the record says
			return audit.Write(ctx, unit.In(tx), e.ID, &r)
		},
	}}
}

// AdminIdentity signs for the first administrator, as long as any identity: for the installation's own set-up work in
// the same process, which asks anew for each of its calls.
func (s *Service) AdminIdentity(ctx context.Context) (string, error) {
	return s.server.SignAdmin(ctx)
}

func (s *Service) clean(ctx context.Context) error {
	tick := time.NewTicker(cleaning)
	defer tick.Stop()
	for {
		if err := s.server.Clean(ctx); err != nil && ctx.Err() == nil {
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
