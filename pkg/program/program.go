// Package program is the common part of the programs of the services: the sub-command "healthcheck", metrics on a port of their
// own, traces, and a graceful stop.
package program

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"slipway.dev/pkg/bus"
	"slipway.dev/pkg/obs"
	"slipway.dev/pkg/run"
	"slipway.dev/pkg/trace"
)

// Settings are the settings that every service has besides its own.
type Settings struct {
	// Metrics is the internal address of /metrics, /healthz and /readyz; if it is empty they are not served.
	Metrics string `env:"METRICS"`
	// NATSReplicas is how many servers of a NATS cluster store each event; 0: three if the cluster has three, else one.
	NATSReplicas int `env:"NATS_REPLICAS" envDefault:"0"`
	// NATSMaxMiB bounds the stream of the service. A full stream takes no further events, which wait in the outbox; the service
	// removes what every reader has read.
	NATSMaxMiB int64 `env:"NATS_MAX_MIB" envDefault:"1024"`
}

// Bus is the settings of the connection to NATS.
func (s Settings) Bus(log *slog.Logger) []bus.Option {
	return []bus.Option{bus.WithLog(log), bus.WithReplicas(s.NATSReplicas), bus.WithMaxBytes(max(1, s.NATSMaxMiB) << 20)}
}

// Process is the settings that every service with a database has besides its own.
type Process struct {
	Settings
	// Database is the URL of the PostgreSQL server; the schema has the name of the service.
	Database string `env:"DATABASE,required"`
	// Certs is the directory with ca.crt and the certificate and key of the service.
	Certs string `env:"CERTS,required"`
	NATS  string `env:"NATS" envDefault:"nats://127.0.0.1:4222"`
	// Services are the addresses of the services of the installation, such as "auth=127.0.0.1:8101,ip=127.0.0.1:8102".
	Services map[string]string `env:"SERVICES" envKeyValSeparator:"="`
}

// Main runs the program of a service. With "healthcheck" as its only argument Main instead asks the running process with the
// same settings whether it is ready, and exits with 0 if so.
func Main(service string, serve func(ctx context.Context, log *slog.Logger) error) {
	run.Main(func(ctx context.Context, log *slog.Logger) error {
		switch args := os.Args[1:]; {
		case len(args) == 1 && args[0] == "healthcheck":
			return obs.Check(ctx, os.Getenv("SLIPWAY_"+strings.ToUpper(service)+"_METRICS"))
		case len(args) > 0:
			return fmt.Errorf("%q is no command: there is only healthcheck", strings.Join(args, " "))
		}
		run.LimitMemory()
		stop, err := trace.Start(ctx, service)
		if err != nil {
			return err
		}
		defer stop()
		return serve(ctx, log)
	})
}

// Run runs the service and its metrics until ctx ends or one of them fails.
func (s Settings) Run(ctx context.Context, o *obs.Obs, services ...run.Service) error {
	context.AfterFunc(ctx, o.Leave)
	return run.All(ctx, append(services, run.Func(func(ctx context.Context) error { return o.Serve(ctx, s.Metrics) }))...)
}
