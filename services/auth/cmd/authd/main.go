// Command authd is the auth service as a process of its own.
package main

import (
	"context"
	"log/slog"
	"net"
	"os"
	"runtime/debug"

	"slipway.dev/pkg/bus"
	"slipway.dev/pkg/conf"
	"slipway.dev/pkg/obs"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/pki"
	"slipway.dev/pkg/program"
	"slipway.dev/pkg/run"
	"slipway.dev/services/auth"
)

type config struct {
	auth.Config
	program.Settings
}

func main() { program.Main("auth", serve) }

// memoryLimit makes the collector give back what password hashes took, 19 MiB each, before the process grows over its share.
const memoryLimit = 40 << 20

func serve(ctx context.Context, log *slog.Logger) error {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
	cfg, err := conf.Load[config]("SLIPWAY_AUTH")
	if err != nil {
		return err
	}
	certs, err := pki.Load(cfg.Certs, "auth")
	if err != nil {
		return err
	}
	pool, err := pg.Open(ctx, cfg.Database, "auth")
	if err != nil {
		return err
	}
	defer pool.Close()
	b, err := bus.Connect(ctx, cfg.NATS, cfg.Bus(log)...)
	if err != nil {
		return err
	}
	defer b.Close()
	svc, err := auth.New(ctx, cfg.Config, auth.Deps{Pool: pool, Bus: b, Log: log})
	if err != nil {
		return err
	}
	o := obs.New(pool.Ping)
	o.Database("auth", pool)
	svc.Server().Observe(o.Call("auth"))
	l, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return err
	}
	return cfg.Run(ctx, o, svc, run.Func(func(ctx context.Context) error { return svc.Server().Serve(ctx, l, certs) }))
}
