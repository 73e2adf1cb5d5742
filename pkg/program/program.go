// Package program is what the programs of the services have in common: the sub-command that a supervisor asks for health,
// metrics on a port of their own, traces, and an end that clients hardly notice.
package program

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"slipway.dev/pkg/bus"
	"slipway.dev/pkg/obs"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/pki"
	"slipway.dev/pkg/rpc"
	"slipway.dev/pkg/run"
	"slipway.dev/pkg/trace"
)

// Settings are those that every service has besides its own.
type Settings struct {
	// Metrics is the address of /metrics, /healthz and /readyz; empty serves nobody. It is not for the outside.
	Metrics string `env:"METRICS"`
	// NATSReplicas is how many servers of a NATS cluster keep each event.
	NATSReplicas int `env:"NATS_REPLICAS" envDefault:"1"`
}

// Bus is how a program connects to NATS.
func (s Settings) Bus(log *slog.Logger) []bus.Option {
	return []bus.Option{bus.WithLog(log), bus.WithReplicas(max(1, s.NATSReplicas))}
}

// Main runs the program of a service. "healthcheck" as its only argument asks the process that runs already, with the
// same settings, whether it is ready, and exits with 0 when it is.
func Main(service string, serve func(ctx context.Context, log *slog.Logger) error) {
	run.Main(func(ctx context.Context, log *slog.Logger) error {
		switch args := os.Args[1:]; {
		case len(args) == 1 && args[0] == "healthcheck":
			return obs.Check(ctx, os.Getenv("SLIPWAY_"+strings.ToUpper(service)+"_METRICS"))
		case len(args) > 0:
			return fmt.Errorf("%q is no command: there is only healthcheck", strings.Join(args, " "))
		}
		stop, err := trace.Start(ctx, service)
		if err != nil {
			return err
		}
		defer stop()
		return serve(ctx, log)
	})
}

// Backend is what services with rows and events stand on.
type Backend struct {
	Pool  *pgxpool.Pool
	Bus   *bus.Bus
	Certs *tls.Config
}

// Open reaches the database, in the service's own schema, and NATS, and loads the service's certificate from the directory certs.
func (s Settings) Open(ctx context.Context, service, certs, database, nats string, log *slog.Logger) (b Backend, err error) {
	if b.Certs, err = pki.Load(certs, service); err != nil {
		return b, err
	}
	if b.Pool, err = pg.Open(ctx, database, service); err != nil {
		return b, err
	}
	if b.Bus, err = bus.Connect(ctx, nats, s.Bus(log)...); err != nil {
		b.Pool.Close()
	}
	return b, err
}

// Close lets go of what Open returned.
func (b Backend) Close() {
	b.Bus.Close()
	b.Pool.Close()
}

// Observe returns what is told of a service with a database.
func (b Backend) Observe(service string) *obs.Obs {
	o := obs.New(b.Pool.Ping)
	o.Database(service, b.Pool)
	return o
}

// Service is one that other services call.
type Service interface {
	run.Service
	Server() *rpc.Server
}

// Serve runs a service, answers its calls on the address listen and tells of them, until ctx ends.
func (s Settings) Serve(ctx context.Context, service, listen string, svc Service, certs *tls.Config, o *obs.Obs) error {
	svc.Server().Observe(o.Call(service))
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	return s.Run(ctx, o, svc, run.Func(func(ctx context.Context) error { return svc.Server().Serve(ctx, l, certs) }))
}

// Run runs the service and its metrics until ctx ends or one of them fails.
func (s Settings) Run(ctx context.Context, o *obs.Obs, services ...run.Service) error {
	context.AfterFunc(ctx, o.Leave)
	return run.All(ctx, append(services, run.Func(func(ctx context.Context) error { return o.Serve(ctx, s.Metrics) }))...)
}
