// Vmd serves vm.v3.
package main

import (
	"context"
	"log/slog"
	"os"
	"sync"

	nodepb "slipway.dev/proto/node/v1"

	"slipway.dev/pkg/conf"
	"slipway.dev/pkg/program"
	"slipway.dev/pkg/rpc"
	"slipway.dev/services/vm"
)

type config struct {
	vm.Config
	program.Settings
	Listen   string `env:"LISTEN,required"`
	Certs    string `env:"CERTS,required"`
	Database string `env:"DATABASE,required"`
	NATS     string `env:"NATS,required"`
	Auth     string `env:"AUTH,required"`
	IP       string `env:"IP,required"`
}

func main() {
	program.Main("vm", func(ctx context.Context, log *slog.Logger) error {
		cfg, err := conf.Load[config]("SLIPWAY_VM")
		if err != nil {
			return err
		}
		if os.Getenv("SLIPWAY_VM_NAME") == "" { // replicas on several hosts, or in several containers, are told apart by it
			if cfg.Name, err = os.Hostname(); err != nil {
				return err
			}
		}
		b, err := cfg.Open(ctx, "vm", cfg.Certs, cfg.Database, cfg.NATS, log)
		if err != nil {
			return err
		}
		defer b.Close()
		auth, err := rpc.Dial(cfg.Auth, "auth", b.Certs)
		if err != nil {
			return err
		}
		ip, err := rpc.Dial(cfg.IP, "ip", b.Certs)
		if err != nil {
			return err
		}
		var agents sync.Map // endpoint -> nodepb.NodeServiceClient
		svc, err := vm.New(ctx, cfg.Config, vm.Deps{
			Pool: b.Pool, Bus: b.Bus, Auth: auth, IP: ip, Log: log,
			Dial: func(endpoint string) (nodepb.NodeServiceClient, error) {
				if c, ok := agents.Load(endpoint); ok {
					return c.(nodepb.NodeServiceClient), nil
				}
				conn, err := rpc.Dial(endpoint, "node", b.Certs)
				if err != nil {
					return nil, err
				}
				c, loaded := agents.LoadOrStore(endpoint, nodepb.NewNodeServiceClient(conn))
				if loaded {
					_ = conn.Close()
				}
				return c.(nodepb.NodeServiceClient), nil
			},
		})
		if err != nil {
			return err
		}
		o := b.Observe("vm")
		o.Jobs("vm", b.Pool)
		o.Findings(svc.Findings)
		o.Breakers(svc.Breakers)
		return cfg.Serve(ctx, "vm", cfg.Listen, svc, b.Certs, o)
	})
}
