// Command ipd is the ip service as a process of its own.
package main

import (
	"context"
	"log/slog"
	"net"

	"slipway.dev/pkg/bus"
	"slipway.dev/pkg/conf"
	"slipway.dev/pkg/obs"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/pki"
	"slipway.dev/pkg/program"
	"slipway.dev/pkg/rpc"
	"slipway.dev/pkg/run"
	"slipway.dev/services/ip"
)

type config struct {
	ip.Config
	program.Settings
}

func main() { program.Main("ip", serve) }

func serve(ctx context.Context, log *slog.Logger) error {
	cfg, err := conf.Load[config]("SLIPWAY_IP")
	if err != nil {
		return err
	}
	certs, err := pki.Load(cfg.Certs, "ip")
	if err != nil {
		return err
	}
	pool, err := pg.Open(ctx, cfg.Database, "ip")
	if err != nil {
		return err
	}
	defer pool.Close()
	b, err := bus.Connect(ctx, cfg.NATS, cfg.Bus(log)...)
	if err != nil {
		return err
	}
	defer b.Close()
	auth, err := rpc.Dial(cfg.Auth, "auth", certs)
	if err != nil {
		return err
	}
	defer func() { _ = auth.Close() }() // the process ends
	svc, err := ip.New(ctx, cfg.Config, ip.Deps{Pool: pool, Bus: b, Auth: auth, Log: log})
	if err != nil {
		return err
	}
	o := obs.New(pool.Ping)
	o.Database("ip", pool)
	svc.Server().Observe(o.Call("ip"))
	l, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return err
	}
	return cfg.Run(ctx, o, svc, run.Func(func(ctx context.Context) error { return svc.Server().Serve(ctx, l, certs) }))
}
