// Noded is the agent on a hypervisor.
package main

import (
	"context"
	"fmt"
	"log/slog"

	"slipway.dev/pkg/conf"
	"slipway.dev/pkg/obs"
	"slipway.dev/pkg/pki"
	"slipway.dev/pkg/program"
	"slipway.dev/pkg/rpc"
	"slipway.dev/services/node"
)

type config struct {
	node.Config
	program.Settings
	Listen string `env:"LISTEN,required"`
	Certs  string `env:"CERTS,required"`
	VM     string `env:"VM,required"`
}

func main() {
	program.Main("node", func(ctx context.Context, log *slog.Logger) (err error) {
		cfg, err := conf.Load[config]("SLIPWAY_NODE")
		if err != nil {
			return err
		}
		certs, err := pki.Load(cfg.Certs, "node")
		if err != nil {
			return err
		}
		if cfg.ID, err = pki.LoadedNode(certs); err != nil {
			return fmt.Errorf("%s: %w", cfg.Certs, err)
		}
		vm, err := rpc.Dial(cfg.VM, "vm", certs)
		if err != nil {
			return err
		}
		svc, err := node.New(ctx, cfg.Config, vm, log)
		if err != nil {
			return err
		}
		defer svc.Close()
		o := obs.New()
		svc.Observe(o)
		return cfg.Serve(ctx, cfg.Listen, svc, certs, o)
	})
}
