// Command ipd is the ip service as a process of its own.
package main

import (
	"context"
	"log/slog"

	"slipway.dev/pkg/conf"
	"slipway.dev/pkg/program"
	"slipway.dev/pkg/rpc"
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
	b, err := cfg.Open(ctx, "ip", cfg.Certs, cfg.Database, cfg.NATS, log)
	if err != nil {
		return err
	}
	defer b.Close()
	auth, err := rpc.Dial(cfg.Auth, "auth", b.Certs)
	if err != nil {
		return err
	}
	defer func() { _ = auth.Close() }() // the process ends
	svc, err := ip.New(ctx, cfg.Config, ip.Deps{Pool: b.Pool, Bus: b.Bus, Auth: auth, Log: log})
	if err != nil {
		return err
	}
	return cfg.Serve(ctx, "ip", cfg.Listen, svc, b.Certs, b.Observe("ip"))
}
