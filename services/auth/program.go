package auth

import (
	"context"
	"os"
	"runtime/debug"

	"slipway.dev/pkg/program"
	"slipway.dev/pkg/service"
)

// Program is the settings of authd: those of auth, and where the process finds what auth works with.
type Program struct {
	Config
	program.Process
	Listen string `env:"LISTEN" envDefault:":8101"`
}

// Place returns where the process is and what it reaches.
func (p Program) Place() program.Place {
	return program.Place{Name: "auth", Process: p.Process, Listen: p.Listen}
}

// memoryLimit makes the collector give back what password hashes took, 19 MiB each, before the process grows over its
// share.
const memoryLimit = 40 << 20

// New makes the service.
func (p Program) New(ctx context.Context, d service.Deps) (program.Service, error) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
	return New(ctx, p.Config, d)
}
