// Command authd is the auth service as a process of its own.
package main

import (
	"context"
	"log/slog"
	"os"
	"runtime/debug"

	"slipway.dev/pkg/conf"
	"slipway.dev/pkg/program"
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
	b, err := cfg.Open(ctx, "auth", cfg.Certs, cfg.Database, cfg.NATS, log)
	if err != nil {
		return err
	}
	defer b.Close()
	svc, err := auth.New(ctx, cfg.Config, auth.Deps{Pool: b.Pool, Bus: b.Bus, Log: log})
	if err != nil {
		return err
	}
	return cfg.Serve(ctx, "auth", cfg.Listen, svc, b.Certs, b.Observe("auth"))
}
