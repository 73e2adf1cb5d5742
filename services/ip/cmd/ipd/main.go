// Command ipd is the ip service as a process of its own.
package main

import (
	"context"
	"log/slog"
	"net"

	"slipway.dev/pkg/bus"
	"slipway.dev/pkg/conf"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/pki"
	"slipway.dev/pkg/rpc"
	"slipway.dev/pkg/run"
	"slipway.dev/services/ip"
)

func main() { run.Main(serve) }

func serve(ctx context.Context, log *slog.Logger) error {
	cfg, err := conf.Load[ip.Config]("SLIPWAY_IP")
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
	b, err := bus.Connect(ctx, cfg.NATS, bus.WithLog(log))
	if err != nil {
		return err
	}
	defer b.Close()
	auth, err := rpc.Dial(cfg.Auth, "auth", certs)
	if err != nil {
		return err
	}
	defer func() { _ = auth.Close() }() // the process ends
	svc, err := ip.New(ctx, cfg, ip.Deps{Pool: pool, Bus: b, Auth: auth, Log: log})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return err
	}
	return run.All(ctx, svc, run.Func(func(ctx context.Context) error { return svc.Server().Serve(ctx, l, certs) }))
}
