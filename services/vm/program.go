package vm

import (
	"context"
	"os"

	"slipway.dev/pkg/program"
	"slipway.dev/pkg/service"
)

// Program is the settings of vmd: those of vm, and where the process finds what vm works with.
type Program struct {
	Config
	program.Process
	Listen string `env:"LISTEN,required"`
}

// Place returns where the process is and what it reaches.
func (p Program) Place() program.Place {
	return program.Place{Name: Schema, Process: p.Process, Listen: p.Listen, Agents: true}
}

// New makes vm. Replicas on several hosts, or in several containers, are named after those.
func (p Program) New(ctx context.Context, d service.Deps) (program.Service, error) {
	if os.Getenv("SLIPWAY_VM_NAME") == "" {
		var err error
		if p.Config.Name, err = os.Hostname(); err != nil {
			return nil, err
		}
	}
	return New(ctx, p.Config, d)
}
