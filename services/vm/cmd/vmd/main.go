// Vmd serves vm.v3.
package main

import (
	"context"
	"log/slog"
	"net"
	"os"
	"sync"

	nodepb "slipway.dev/proto/node/v1"

	"slipway.dev/pkg/bus"
	"slipway.dev/pkg/conf"
	"slipway.dev/pkg/obs"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/pki"
	"slipway.dev/pkg/program"
	"slipway.dev/pkg/rpc"
	"slipway.dev/pkg/run"
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
		certs, err := pki.Load(cfg.Certs, "vm")
		if err != nil {
			return err
		}
		pool, err := pg.Open(ctx, cfg.Database, vm.Schema)
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
		ip, err := rpc.Dial(cfg.IP, "ip", certs)
		if err != nil {
			return err
		}
		var agents sync.Map // endpoint -> nodepb.NodeServiceClient
		svc, err := vm.New(ctx, cfg.Config, vm.Deps{
			Pool: pool, Bus: b, Auth: auth, IP: ip, Log: log,
			Dial: func(endpoint string) (nodepb.NodeServiceClient, error) {
				if c, ok := agents.Load(endpoint); ok {
					return c.(nodepb.NodeServiceClient), nil
				}
				conn, err := rpc.Dial(endpoint, "node", certs)
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
		o := obs.New(pool.Ping)
		o.Database("vm", pool)
		o.Jobs("vm", pool)
		o.Findings(svc.Findings)
		svc.Server().Observe(o.Call("vm"))
		l, err := net.Listen("tcp", cfg.Listen)
		if err != nil {
			return err
		}
		return cfg.Run(ctx, o, svc, run.Func(func(ctx context.Context) error { return svc.Server().Serve(ctx, l, certs) }))
	})
}
