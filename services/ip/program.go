package ip

import (
	"context"

	"slipway.dev/pkg/program"
	"slipway.dev/pkg/service"
)

// Program is the settings of ipd: those of ip, and where the process finds what ip works with.
type Program struct {
	Config
	program.Process
	Listen string `env:"LISTEN" envDefault:":8102"`
}

// Place returns where the process is and what it reaches.
func (p Program) Place() program.Place {
	return program.Place{Name: "ip", Process: p.Process, Listen: p.Listen}
}

// New makes the service.
func (p Program) New(ctx context.Context, d service.Deps) (program.Service, error) {
	return New(ctx, p.Config, d)
}
