package program

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"strings"

	"slipway.dev/pkg/bus"
	"slipway.dev/pkg/conf"
	"slipway.dev/pkg/obs"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/pki"
	"slipway.dev/pkg/rpc"
	"slipway.dev/pkg/run"
	"slipway.dev/pkg/service"
)

// Program is the settings of a service as a process of its own, and the function that makes the service.
type Program interface {
	Place() Place
	New(ctx context.Context, d service.Deps) (Service, error)
}

// Place describes a process and the services that it calls.
type Place struct {
	// Name of the service: of its schema and its certificate.
	Name    string
	Process Process
	Listen  string
	// Agents says that it dials the agents of nodes.
	Agents bool
}

// Service runs, answers calls and has metrics.
type Service interface {
	Callable
	Observe(o *obs.Obs)
}

// Serve is the main function of a service: it reads the settings from variables that begin with prefix, connects to database, bus
// and peers, and runs the service and its metrics until a signal to stop.
func Serve[P Program](prefix string) {
	Main(strings.ToLower(strings.TrimPrefix(prefix, "SLIPWAY_")), func(ctx context.Context, log *slog.Logger) error {
		p, err := conf.Load[P](prefix)
		if err != nil {
			return err
		}
		return p.Place().serve(ctx, p.New, log)
	})
}

func (p Place) serve(ctx context.Context, make func(context.Context, service.Deps) (Service, error), log *slog.Logger) error {
	certs, err := pki.Load(p.Process.Certs, p.Name)
	if err != nil {
		return err
	}
	d := service.Deps{Log: log, Peers: service.Peers{}, Guard: pg.NewGuard()}
	if d.Pool, err = pg.Open(ctx, p.Process.Database, p.Name, pg.Guarded(d.Guard)); err != nil {
		return err
	}
	defer d.Pool.Close()
	if d.Bus, err = bus.Connect(ctx, p.Process.NATS, p.Process.Bus(log)...); err != nil {
		return err
	}
	defer d.Bus.Close()
	for name, address := range p.Process.Services {
		if name == p.Name {
			continue
		}
		conn, err := rpc.Dial(address, name, certs) // opens no connection before the first call
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }() // the process ends
		d.Peers[name] = conn
	}
	if p.Agents {
		agents := rpc.NewAgents(certs)
		defer agents.Close()
		d.Dial = agents.Dial
	}
	svc, err := make(ctx, d)
	if err != nil {
		return err
	}
	o := obs.New(d.Pool.Ping)
	svc.Observe(o)
	return p.Process.Serve(ctx, p.Listen, svc, certs, o)
}

// Callable is a service with rpcs.
type Callable interface {
	run.Service
	Server() *rpc.Server
}

// Serve runs a service, answers its calls on the address listen and serves its metrics, until ctx ends.
func (s Settings) Serve(ctx context.Context, listen string, svc Callable, certs *tls.Config, o *obs.Obs) error {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	return s.Run(ctx, o, svc, run.Func(func(ctx context.Context) error { return svc.Server().Serve(ctx, l, certs) }))
}
