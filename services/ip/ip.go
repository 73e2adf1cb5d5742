// Package ip is the service that owns networks, pools and addresses. An address has one owner at a time.
package ip

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"slipway.dev/pkg/bus"
	"slipway.dev/pkg/conf"
	"slipway.dev/pkg/fsck"
	"slipway.dev/pkg/query"
	"slipway.dev/pkg/rpc"
	"slipway.dev/pkg/run"
	"slipway.dev/pkg/service"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/ip/internal/address"
	"slipway.dev/services/ip/internal/network"
	"slipway.dev/services/ip/internal/pool"
	"slipway.dev/services/ip/internal/rdns"
	"slipway.dev/services/ip/internal/schema"
	"slipway.dev/services/ip/internal/setting"
)

// Config comes from variables that begin with SLIPWAY_IP_.
type Config struct {
	// Quarantine is how long a released address is not given to a new owner: packets for the old one may still
	// arrive. Below zero there is none. The setting quarantine_seconds overrides it.
	Quarantine time.Duration `env:"QUARANTINE" envDefault:"5m"`
	// Lists bounds what a list may cost: LIST_MAX_ROWS and LIST_TIMEOUT.
	Lists query.Limits `envPrefix:"LIST_"`

	// DNSServer is the primary name server of the reverse zones, host and port. ip publishes PTR records there by
	// dynamic update (RFC 2136), signed with the TSIG key (HMAC-SHA256, secret in base64). Without a server ip only
	// keeps the records.
	DNSServer string `env:"DNS_SERVER"`
	// DNSResolver, where it is set, is asked for CNAMEs that the primary server does not know: those by which another
	// server delegates parts of its reverse zone (RFC 2317).
	DNSResolver   string `env:"DNS_RESOLVER"`
	DNSTSIGName   string `env:"DNS_TSIG_NAME"`
	DNSTSIGSecret string `env:"DNS_TSIG_SECRET"`
}

// Service is the ip service of this process.
type Service struct {
	*service.Service
	cfg Config
}

// Migrate brings the schema up to date. New does so too, but then its role must be allowed to change the schema, unless
// there is nothing to change.
func Migrate(ctx context.Context, pool *pgxpool.Pool) error {
	return service.Spec{Tables: schema.Migrations}.Migrate(ctx, pool)
}

// New brings the schema up to date and returns the service. Several processes may do so at the same time. ip calls
// auth.
func New(ctx context.Context, cfg Config, d service.Deps) (*Service, error) {
	if err := conf.Defaults(&cfg); err != nil {
		return nil, err
	}
	s := &Service{cfg: cfg}
	var err error
	s.Service, err = service.New(ctx, service.Spec{
		Name: "ip", Calls: []string{"auth"}, Tables: schema.Migrations, Lists: cfg.Lists, Build: s.build,
	}, d)
	return s, err
}

func (s *Service) build(_ context.Context, k *service.Kit) (service.Parts, error) {
	names, err := rdns.NewPublisher(k.DB, rdns.Config{
		Server: s.cfg.DNSServer, Resolver: s.cfg.DNSResolver, Key: s.cfg.DNSTSIGName, Secret: s.cfg.DNSTSIGSecret,
	}, k.Log)
	if err != nil {
		return service.Parts{}, err
	}
	k.DB.PokeRelay = func() { k.Relay.Poke(); names.Poke() }
	register(k.Server, k.DB, max(0, s.cfg.Quarantine), names.Publishes())
	return service.Parts{
		Consumers: consumers,
		Checks:    []fsck.Check{address.Overdue(k.DB)},
		Loops:     []run.Func{names.Run, func(ctx context.Context) error { return address.Sweep(ctx, k.DB, k.Log) }},
	}, nil
}

// consumers take in what happens to the accounts that pools and addresses are booked for. Addresses follow their
// hosts, so an account that was deleted has them until vm has moved its hosts.
var consumers = []service.Consumer{
	{Name: "ip-auth", From: "auth", On: map[string]bus.Handle{"auth.v4.user.deleted": service.On(pool.AccountDeleted)}},
	{Name: "ip-vm", From: "vm", On: map[string]bus.Handle{"vm.v3.host.moved": service.On(address.HostMoved)}},
}

// register adds the rpcs of all rooms. Networks and pools are nouns below addresses: what their changes do to addresses
// is passed to them here.
func register(r *rpc.Server, db *unit.DB, quarantine time.Duration, published bool) {
	setting.Register(r, db, quarantine)
	network.Register(r, db, address.MoveGateway)
	pool.Register(r, db, pool.Addresses{Add: address.AddRange, Remove: address.RemoveRange})
	address.Register(r, db, quarantine, published)
}
