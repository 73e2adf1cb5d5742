// Package vm owns clusters, nodes, hosts, OS templates and tasks. A handler records a wish and a job in one transaction; the
// worker carries the job out on the nodes and takes it back when it cannot be done.
package vm

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/grpc"

	authpb "slipway.dev/proto/auth/v4"
	ippb "slipway.dev/proto/ip/v3"

	"slipway.dev/pkg/bus"
	"slipway.dev/pkg/fsck"
	"slipway.dev/pkg/idem"
	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/jobs"
	"slipway.dev/pkg/obs"
	"slipway.dev/pkg/outbox"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/query"
	"slipway.dev/pkg/rpc"
	"slipway.dev/pkg/run"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/internal/keys"
	vmfsck "slipway.dev/services/vm/internal/fsck"
	"slipway.dev/services/vm/internal/server"
	"slipway.dev/services/vm/internal/store"
	"slipway.dev/services/vm/internal/work"
)

// Schema is vm's schema in the database.
const Schema = "vm"

// Config are the settings that have defaults.
type Config struct {
	// Name of this replica, the owner of its jobs. Two replicas never share one; vmd takes the host name unless told.
	Name string `env:"NAME" envDefault:"vm"`
	// TakeOver takes the jobs of a predecessor of the same name at once. Only when it is surely dead.
	TakeOver bool `env:"TAKE_OVER"`
	// Workers is how many jobs run at once.
	Workers int `env:"WORKERS" envDefault:"16"`
	// Lease is how long a job stays with a replica that died.
	Lease time.Duration `env:"LEASE" envDefault:"15s"`
	// WatchEvery is how often what the nodes say is compared with what is stored.
	WatchEvery time.Duration `env:"WATCH_EVERY" envDefault:"10s"`
	// KeepTasks is how long a finished task is kept.
	KeepTasks time.Duration `env:"KEEP_TASKS" envDefault:"2160h"`
	// FsckEvery is the time between two consistency checks of the installation.
	FsckEvery time.Duration `env:"FSCK_EVERY" envDefault:"10m"`
	// Cluster and DomainTemplate are those of the cluster that the first start makes.
	Cluster        string `env:"CLUSTER"         envDefault:"default"`
	DomainTemplate string `env:"DOMAIN_TEMPLATE" envDefault:"{name}.slipway.internal"`
	// Lists bounds what a list may cost: LIST_MAX_ROWS and LIST_TIMEOUT.
	Lists query.Limits `envPrefix:"LIST_"`
}

// Deps is what vm works with.
type Deps struct {
	Pool *pgxpool.Pool // on Schema
	Bus  *bus.Bus
	Auth grpc.ClientConnInterface
	IP   grpc.ClientConnInterface
	// Dial connects to the agent at a node's endpoint.
	Dial work.Dial
	Log  *slog.Logger
}

// Service is vm, ready to run.
type Service struct {
	cfg    Config
	deps   Deps
	server *rpc.Server
	runner *jobs.Runner
	relay  *outbox.Relay
	worker *work.Worker
	store  *store.Store
	keeper *idem.Keeper

	verifier *identity.Verifier
	fsck     *fsck.Checker
}

// Migrate brings the schema up to date. New does so too, but then its role must be allowed to change the schema, unless
// there is nothing to change.
func Migrate(ctx context.Context, pool *pgxpool.Pool) error {
	return pg.Migrate(ctx, pool, store.Lines...)
}

// New migrates the schema, makes the first cluster and registers the rpc services. Nothing runs yet.
func New(ctx context.Context, cfg Config, d Deps) (*Service, error) {
	if err := Migrate(ctx, d.Pool); err != nil {
		return nil, fmt.Errorf("vm: %w", err)
	}
	if err := d.Bus.EnsureStream(ctx, "vm"); err != nil {
		return nil, fmt.Errorf("vm: %w", err)
	}
	if cfg.FsckEvery <= 0 {
		cfg.FsckEvery = 10 * time.Minute
	}
	s := &Service{
		cfg: cfg, deps: d, relay: outbox.NewRelay(d.Pool, d.Bus, d.Log), keeper: idem.New(d.Pool),
		runner: jobs.NewRunner(d.Pool, jobs.Config{
			Name: cfg.Name, Workers: cfg.Workers, Lease: cfg.Lease, TakeOver: cfg.TakeOver, Keep: cfg.KeepTasks, Log: d.Log,
		}),
	}
	s.store = store.New(&unit.DB{
		Pool: d.Pool, Lists: query.NewReader(d.Pool, cfg.Lists), Audit: unit.AuditEvents("vm.v3.audit.recorded"),
		PokeRelay: s.relay.Poke, PokeJobs: s.runner.Poke,
	})
	if err := s.store.EnsureCluster(ctx, cfg.Cluster, cfg.DomainTemplate); err != nil {
		return nil, fmt.Errorf("vm: first cluster: %w", err)
	}
	s.worker = work.New(s.runner, work.Tables{Store: s.store}, ippb.NewAddressServiceClient(d.IP), d.Dial, d.Log)
	s.verifier = identity.NewVerifier(keys.From(d.Auth))
	s.server = rpc.NewServer(d.Log, s.verifier)
	s.server.Audit("vm", s.store.Record)
	s.server.Keep(s.keeper)
	world := vmfsck.Reader{Store: s.store, Ledger: ippb.NewLedgerServiceClient(d.IP), Dial: d.Dial}
	s.fsck = fsck.NewChecker(d.Pool, fsck.Config{
		World: world.Compare, Kinds: vmfsck.Kinds,
		Own:      []fsck.Check{fsck.Jobs(d.Pool), fsck.Outbox(d.Pool, "vm"), fsck.Parked(d.Pool)},
		Services: []fsck.Service{{Name: "auth", Conn: d.Auth}, {Name: "ip", Conn: d.IP}},
	}, d.Log)
	server.Register(s.server, s.store, server.Peers{
		Users: authpb.NewUserServiceClient(d.Auth), Addresses: ippb.NewAddressServiceClient(d.IP),
		Pools: ippb.NewPoolServiceClient(d.IP), Dial: d.Dial,
		Fsck: s.fsck, Consumers: map[string]bus.Handle{"vm-auth": takeAccount, "vm-ip": takeIP},
	})
	return s, s.server.Check()
}

// Server answers vm's rpcs.
func (s *Service) Server() *rpc.Server { return s.server }

// DeclareJobs declares the crash points of all jobs, for a program that only lists them.
func DeclareJobs(log *slog.Logger) {
	work.New(jobs.NewRunner(nil, jobs.Config{Log: log}), nil, nil, nil, log)
}

// Findings returns how many findings of each kind the last consistency check had, for a gauge. It returns nil in all processes
// but the one that checks.
func (s *Service) Findings() map[string]int { return s.fsck.Findings() }

// Breakers tells of the breakers of all nodes, for a gauge.
func (s *Service) Breakers(ctx context.Context) ([]obs.Breaker, error) { return s.store.Breakers(ctx) }

// Run carries out jobs, sends and takes in events, and watches the nodes, until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	return run.All(ctx, s.runner, s.relay, s.keeper,
		run.Func(func(ctx context.Context) error { return s.worker.Watch(ctx, s.cfg.WatchEvery) }),
		run.Func(func(ctx context.Context) error { return keys.Watch(ctx, s.deps.Bus, s.verifier, s.deps.Log) }),
		run.Func(func(ctx context.Context) error { return s.fsck.Run(ctx, s.cfg.FsckEvery) }),
		s.consume("auth", takeAccount, "auth.v4.user.*"),
		s.consume("ip", takeIP, "ip.v3.pool.bound", "ip.v3.address.released", "ip.v3.address.named", "ip.v3.network.changed"),
	)
}

// consume takes in the events of another service.
func (s *Service) consume(service string, take bus.Handle, subjects ...string) run.Service {
	return run.Func(func(ctx context.Context) error {
		return s.deps.Bus.Consume(ctx, s.deps.Pool, bus.Consumer{Name: "vm-" + service, Service: service, Subjects: subjects}, take)
	})
}

// takeIP keeps vm's copies of what is ip's: which clusters a pool serves, and what the addresses of hosts are. That a host
// has an address no more was written by vm itself, but not when the reservation lapsed.
func takeIP(ctx context.Context, tx pgx.Tx, e bus.Event) error {
	t := store.In(tx)
	switch e.Subject {
	case "ip.v3.pool.bound":
		var b ippb.PoolBound
		if err := e.Decode(&b); err != nil {
			return err
		}
		return t.KeepPool(ctx, b.GetId(), b.GetClusterIds())
	case "ip.v3.address.released":
		var r ippb.AddressReleased
		if err := e.Decode(&r); err != nil {
			return err
		}
		return t.DropAddress(ctx, r.GetId(), r.GetGeneration(), r.GetOwner())
	case "ip.v3.address.named":
		var n ippb.AddressNamed
		if err := e.Decode(&n); err != nil {
			return err
		}
		return t.NameAddress(ctx, n.GetId(), n.GetSerial(), n.GetDomain())
	default:
		var n ippb.NetworkChanged
		if err := e.Decode(&n); err != nil {
			return err
		}
		return t.KeepNetwork(ctx, n.GetId(), n.GetGateway(), n.GetDnsServers())
	}
}

// takeAccount keeps vm's copy of the accounts. Taking the same event twice changes nothing.
func takeAccount(ctx context.Context, tx pgx.Tx, e bus.Event) error {
	if e.Subject == "auth.v4.user.deleted" {
		var gone authpb.UserDeleted
		if err := e.Decode(&gone); err != nil {
			return err
		}
		return store.In(tx).DropAccount(ctx, gone.GetId())
	}
	var u authpb.UserChanged
	if err := e.Decode(&u); err != nil {
		return err
	}
	return store.In(tx).KeepAccount(ctx, store.Account{ID: u.GetId(), Email: u.GetEmail(), Roles: u.GetRoles(), State: u.GetState()})
}
