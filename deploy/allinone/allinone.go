// Package allinone runs every service in one process: over plain calls instead of connections, with a NATS server inside
// and a private PostgreSQL beside it unless others are given. The wiring is that of the separate processes.
package allinone

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"slipway.dev/deploy/stack"
	"slipway.dev/gateway"
	"slipway.dev/pkg/conf"
	"slipway.dev/pkg/durable"
	"slipway.dev/pkg/obs"
	"slipway.dev/pkg/run"
	"slipway.dev/services/auth"
	"slipway.dev/services/node"
)

// Config is what an operator chooses.
type Config struct {
	// Data is the directory of everything that must outlive the process.
	Data string
	// Listen is the address of the REST API.
	Listen string
	// Hypervisor is auto, libvirt or sim; Accel is auto, kvm or tcg.
	Hypervisor, Accel string
	// Metrics is the address of /metrics; if it is empty nothing is counted or served.
	Metrics string
	// MetricsServer is the URL of a server that answers Prometheus' HTTP API and scrapes Metrics; "auto" runs a private Prometheus
	// if one is installed, "off" has none: requests for metrics of hosts are refused then.
	MetricsServer string
	// Templates is a directory of OS templates that are installed at start; empty for none.
	Templates string
	// AdminEmail and AdminPassword are of the first administrator; without a password one is made and kept in
	// Data/admin-password.
	AdminEmail, AdminPassword string
	// PostgresURL and NATSURL replace the embedded servers.
	PostgresURL, NATSURL string
	// NATSReplicas is how many servers of a cluster at NATSURL keep each event; 0: three if the cluster has three, else one.
	NATSReplicas int
	// NATSMaxMiB bounds the stream of each service; 0 is 1024.
	NATSMaxMiB int
	// PanelURL is where a one-time link leads after the login; empty for a page of the gateway's own.
	PanelURL string
}

// process is what runs.
type process struct {
	cfg   Config
	log   *slog.Logger
	infra *infra

	services *stack.Stack
	node     *node.Service
	gateway  *gateway.Gateway
	obs      *obs.Obs // nil without metrics
	private  *private // nil without a Prometheus of our own
}

// stopTime is how long requests under way may take when the process is asked to stop.
const stopTime = 10 * time.Second

// Up runs a stack until ctx ends. It writes "ready http://…" to out once every service works. Machines keep running when
// it returns; the next Up on the same data finds them.
func Up(ctx context.Context, cfg Config, log *slog.Logger, out io.Writer) (err error) {
	if err := os.MkdirAll(cfg.Data, 0o755); err != nil {
		return err
	}
	unlock, err := lock(cfg.Data)
	if err != nil {
		return err
	}
	defer unlock()
	l, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	defer l.Close()
	s := &process{cfg: cfg, log: log}
	if s.infra, err = start(ctx, cfg, log); err != nil {
		return err
	}
	defer s.infra.stop()
	if err := s.build(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.node.Close()) }()
	return run.All(ctx,
		run.Func(s.serveMetrics),
		s.infra, s.services, s.node,
		run.Func(func(ctx context.Context) error { return s.gateway.Watch(ctx, s.infra.bus) }),
		run.Func(func(ctx context.Context) error { return s.serve(ctx, l) }),
		run.Func(func(ctx context.Context) error { return s.announce(ctx, l.Addr(), out) }),
	)
}

// build makes the services, the agent and the gateway.
func (s *process) build(ctx context.Context) error {
	id, err := stackID(s.cfg.Data)
	if err != nil {
		return err
	}
	password, err := adminPassword(s.cfg)
	if err != nil {
		return err
	}
	master, err := durable.Create(filepath.Join(s.cfg.Data, masterFile), 0o600, func() (string, error) { return auth.NewMasterKey(), nil })
	if err != nil {
		return err
	}
	if s.private, err = s.prometheus(); err != nil {
		return err
	}
	// The lock on the data directory proves that the predecessor is dead: its jobs are taken over at once.
	s.services, err = stack.New(ctx, stack.Config{
		Pools: s.infra.pools, Guard: s.infra.guard, Bus: s.infra.bus, Log: s.log, Settings: settings(os.Environ(), map[string]string{
			"SLIPWAY_AUTH_MASTER_KEY": master, "SLIPWAY_AUTH_ADMIN_EMAIL": s.cfg.AdminEmail, "SLIPWAY_AUTH_ADMIN_PASSWORD": password,
			"SLIPWAY_VM_TAKE_OVER": "true", "SLIPWAY_VM_METRICS_SERVER": s.metricsURL(),
		}),
	})
	if err != nil {
		return err
	}
	root := filepath.Join(s.cfg.Data, "node")
	nodeID, err := node.Identity(root, "")
	if err != nil {
		return err
	}
	fetch, err := conf.Load[node.Fetch]("SLIPWAY_NODE_FETCH")
	if err != nil {
		return err
	}
	if s.node, err = node.New(ctx, node.Config{
		Root: root, StackID: id, Endpoint: node.LocalEndpoint,
		Templates: s.cfg.Templates, Hypervisor: s.cfg.Hypervisor, Accel: s.cfg.Accel, Fetch: fetch,
	}, s.services.AgentConn(nodeID), s.log.With("service", "node")); err != nil {
		return err
	}
	s.services.AddAgent(nodeID, node.LocalEndpoint, s.node.Server())
	edge, err := s.edge()
	if err != nil {
		return err
	}
	s.gateway, err = gateway.New(edge, gateway.Conns(s.services.Peers("gateway")), s.log.With("service", "gateway"))
	return err
}

// edge returns the settings of the gateway.
func (s *process) edge() (gateway.Config, error) {
	cfg, err := conf.Load[struct {
		Changes      int `env:"CHANGES"`
		AdminChanges int `env:"ADMIN_CHANGES"`
	}]("SLIPWAY_GATEWAY")
	edge := gateway.Config{
		PanelURL: s.cfg.PanelURL, Ready: []func(context.Context) error{s.infra.ready}, Changes: cfg.Changes, AdminChanges: cfg.AdminChanges,
	}
	if s.cfg.Metrics != "" || s.private != nil {
		s.watch()
		edge.Observe = s.obs.Request
	}
	return edge, err
}

// serve answers HTTP until ctx ends, then lets requests under way finish.
func (s *process) serve(ctx context.Context, l net.Listener) error {
	srv := s.gateway.Server("")
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
		defer cancel()
		stopped <- srv.Shutdown(ctx)
	})
	err := srv.Serve(l)
	if !stop() {
		return <-stopped
	}
	return err
}
