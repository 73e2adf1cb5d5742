// Package vm owns clusters, nodes, hosts, OS templates and tasks. A handler records a change and its job in one
// transaction; the worker carries the job out on the nodes and takes it back when it cannot be done.
package vm

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/grpc"

	authpb "slipway.dev/proto/auth/v4"
	ippb "slipway.dev/proto/ip/v3"
	nodepb "slipway.dev/proto/node/v1"

	"slipway.dev/pkg/conf"
	"slipway.dev/pkg/fsck"
	"slipway.dev/pkg/jobs"
	"slipway.dev/pkg/lead"
	"slipway.dev/pkg/query"
	"slipway.dev/pkg/rpc"
	"slipway.dev/pkg/run"
	"slipway.dev/pkg/service"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/api"
	"slipway.dev/services/vm/internal/cluster"
	"slipway.dev/services/vm/internal/events"
	vmfsck "slipway.dev/services/vm/internal/fsck"
	"slipway.dev/services/vm/internal/host"
	"slipway.dev/services/vm/internal/metrics"
	"slipway.dev/services/vm/internal/schema"
	"slipway.dev/services/vm/internal/task"
	"slipway.dev/services/vm/internal/watch"
	"slipway.dev/services/vm/internal/worker"
)

// Schema is vm's schema in the database.
const Schema = "vm"

// Config are the settings that have defaults.
type Config struct {
	// Name of this replica, the owner of its jobs. Two replicas never share one; vmd takes the host name by default.
	Name string `env:"NAME" envDefault:"vm"`
	// TakeOver takes the jobs of a predecessor of the same name at once. Only when it is surely dead.
	TakeOver bool `env:"TAKE_OVER"`
	// Workers is how many jobs run at once. A job that takes longer than a second goes on without a worker.
	Workers int `env:"WORKERS" envDefault:"32"`
	// NodeShare and AccountShare are the parts of the workers that the jobs of one node and of one account may have; 1 is no
	// bound. Of the workers that a node may have, an account may have AccountShare.
	NodeShare    float64 `env:"NODE_SHARE"    envDefault:"0.5"`
	AccountShare float64 `env:"ACCOUNT_SHARE" envDefault:"0.75"`
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
	// MetricsServer is the URL of the metrics server, which answers the HTTP API of Prometheus and scrapes the agents of the nodes.
	// Without one, requests for metrics are refused.
	MetricsServer string `env:"METRICS_SERVER"`
	// Lists bounds what a list may cost: LIST_MAX_ROWS and LIST_TIMEOUT.
	Lists query.Limits `envPrefix:"LIST_"`
}

// Service is vm, ready to run.
type Service struct {
	*service.Service
	cfg  Config
	db   *unit.DB
	fsck *fsck.Checker
	jobs *jobs.Runner
	work *worker.Worker

	limits *task.Limits
}

// Migrate brings the schema up to date. New does so too, but then its role must be allowed to change the schema, unless
// there is nothing to change.
func Migrate(ctx context.Context, pool *pgxpool.Pool) error {
	return service.Spec{Tables: schema.Migrations, Jobs: &jobs.Config{}}.Migrate(ctx, pool)
}

// New migrates the schema, makes the first cluster and registers the rpc services. Nothing runs yet. vm calls auth and
// ip, and dials the agents of nodes.
func New(ctx context.Context, cfg Config, d service.Deps) (*Service, error) {
	if err := conf.Defaults(&cfg); err != nil {
		return nil, err
	}
	s := &Service{cfg: cfg, limits: &task.Limits{}}
	var err error
	s.Service, err = service.New(ctx, service.Spec{
		Name: Schema, Calls: []string{"auth", "ip"}, Tables: schema.Migrations, Lists: cfg.Lists, Build: s.build,
		Jobs: &jobs.Config{
			Name: cfg.Name, Workers: cfg.Workers, Lease: cfg.Lease, TakeOver: cfg.TakeOver, Keep: cfg.KeepTasks,
			NodeShare: cfg.NodeShare, AccountShare: cfg.AccountShare, Limit: s.limits.Of,
		},
	}, d)
	return s, err
}

func (s *Service) build(ctx context.Context, k *service.Kit) (service.Parts, error) {
	s.db, s.jobs = k.DB, k.Jobs
	if err := cluster.Ensure(ctx, k.DB, s.cfg.Cluster, s.cfg.DomainTemplate); err != nil {
		return service.Parts{}, fmt.Errorf("first cluster: %w", err)
	}
	if err := s.limits.Read(ctx, k.DB); err != nil {
		return service.Parts{}, fmt.Errorf("limits of tasks: %w", err)
	}
	auth, ip, services := k.Peers["auth"], k.Peers["ip"], everyService(k.Server.Local(Schema), k.Peers)
	dial := func(node uuid.UUID, endpoint string) (nodepb.NodeServiceClient, error) {
		conn, err := k.Dial(node.String(), endpoint)
		if err != nil {
			return nil, err
		}
		return nodepb.NewNodeServiceClient(conn), nil
	}
	rows := worker.Tables(k.DB)
	rows.Guard, rows.Histories = k.Guard, &watch.Histories{DB: k.DB, Ledger: ippb.NewLedgerServiceClient(ip), Bus: k.Bus}
	s.work = worker.New(k.Jobs, rows, ippb.NewAddressServiceClient(ip), dial, k.Log)
	if err := s.work.Ask(ctx); err != nil {
		return service.Parts{}, fmt.Errorf("timelines of the nodes: %w", err)
	}
	world := vmfsck.Reader{DB: k.DB, Ledger: ippb.NewLedgerServiceClient(ip), Users: authpb.NewUserServiceClient(auth), Dial: dial}
	s.fsck = fsck.NewChecker(fsck.Config{
		World: world.Compare, Kinds: vmfsck.Kinds, Services: services,
	}, k.Log)
	source, err := metrics.NewSource(s.cfg.MetricsServer, k.Log)
	if err != nil {
		return service.Parts{}, err
	}
	api.Register(k.Server, k.DB, api.Peers{
		Auth: auth, IP: rpc.OnBehalf(ip), Services: services, Dial: dial, Fsck: s.fsck, Metrics: source, Limits: s.limits,
	})
	return service.Parts{
		Consumers: events.Consumers,
		Duties:    []lead.Duty{s.fsck.Duty(s.cfg.FsckEvery), {Name: "watch", Run: s.watch}, host.CountDuty(k.DB)},
		Loops:     []run.Func{func(ctx context.Context) error { return s.limits.Run(ctx, k.DB, k.Log) }},
		Observe:   s.observe,
	}, nil
}

// watch looks at the nodes, in one process.
func (s *Service) watch(ctx context.Context, _ *lead.Leader) error {
	return s.work.Run(ctx, s.cfg.WatchEvery)
}

// everyService returns vm itself and its peers: the services whose bookkeeping is checked and whose parked events are listed.
func everyService(own grpc.ClientConnInterface, peers service.Peers) []fsck.Service {
	list := []fsck.Service{{Name: Schema, Conn: own}}
	for _, name := range slices.Sorted(maps.Keys(peers)) {
		list = append(list, fsck.Service{Name: name, Conn: peers[name]})
	}
	return list
}

// DeclareJobs declares the crash points of all jobs, for a program that only lists them.
func DeclareJobs(log *slog.Logger) {
	worker.New(jobs.NewRunner(nil, jobs.Config{Log: log}), worker.Tables(nil), nil, nil, log)
}
