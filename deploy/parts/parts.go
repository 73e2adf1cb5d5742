// Package parts is the table of the programs of an installation. slipway up, the set-up of separate services and the
// benches read it. A test compares the table with compose, Dockerfile, Makefile and Prometheus.
package parts

import (
	"context"
	"log/slog"
	"path"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"slipway.dev/pkg/conf"
	"slipway.dev/pkg/program"
	"slipway.dev/pkg/service"
	"slipway.dev/services/auth"
	"slipway.dev/services/ip"
	"slipway.dev/services/vm"
)

// Part is one program.
type Part struct {
	// Name of the service: of its certificate, its container, and of its schema and user on the bus if it has these.
	Name string
	// Command is the folder of its main function.
	Command string
	// Port is the port that the program listens on.
	Port int
	// Calls are the services that it calls.
	Calls []string
	// Replicable programs may run several times, because their state is in the database.
	Replicable bool
	// OnBus programs have an account on the bus.
	OnBus bool
	// Reads are the services whose events the program takes in.
	Reads []string
	// Weight is the program's share of the PostgreSQL connections that remain when each pool has the minimum.
	Weight int

	// Migrate brings the schema up to date. It is nil for a program without a schema, as are the fields below.
	Migrate func(context.Context, *pgxpool.Pool) error
	// New creates the service from settings that have the names of the program's environment variables.
	New func(ctx context.Context, settings map[string]string, d service.Deps) (program.Service, error)
	// DeclareJobs declares the crash points of the service's jobs; nil for a service without jobs.
	DeclareJobs func(*slog.Logger)
}

// All returns the table. A service with a schema is a line after those that it calls.
func All() []Part {
	return []Part{
		{
			Name: "auth", Command: "services/auth/cmd/authd", Port: 8101, Replicable: true, OnBus: true, Weight: 2,
			Reads:   []string{"ip", "vm"},
			Migrate: auth.Migrate, New: From("SLIPWAY_AUTH", auth.New),
		},
		{
			Name: "ip", Command: "services/ip/cmd/ipd", Port: 8102, Calls: []string{"auth"}, Replicable: true, OnBus: true, Weight: 3,
			Reads: []string{"auth", "vm"}, Migrate: ip.Migrate, New: From("SLIPWAY_IP", ip.New),
		},
		{
			// vm runs as many jobs at a time as it has workers, besides requests.
			Name: "vm", Command: "services/vm/cmd/vmd", Port: 8103, Calls: []string{"auth", "ip"}, Replicable: true, OnBus: true, Weight: 5,
			Reads:   []string{"auth", "ip"},
			Migrate: vm.Migrate, New: From("SLIPWAY_VM", vm.New), DeclareJobs: vm.DeclareJobs,
		},
		{Name: "node", Command: "services/node/cmd/noded", Port: 8104, Calls: []string{"vm"}},
		{
			Name: "gateway", Command: "gateway/cmd/gatewayd", Port: 8080, Calls: []string{"auth", "ip", "vm"},
			Replicable: true, OnBus: true,
		},
	}
}

// From returns a Part.New that reads the settings of a service from variables that begin with prefix.
func From[C any, S program.Service](prefix string, construct func(context.Context, C, service.Deps) (S, error)) func(
	context.Context, map[string]string, service.Deps) (program.Service, error) {
	return func(ctx context.Context, settings map[string]string, d service.Deps) (program.Service, error) {
		cfg, err := conf.From[C](settings, prefix)
		if err != nil {
			return nil, err
		}
		return construct(ctx, cfg, d)
	}
}

// Services returns the parts of a table that have a schema.
func Services(table []Part) []Part {
	var list []Part
	for _, p := range table {
		if p.Migrate != nil {
			list = append(list, p)
		}
	}
	return list
}

// Program returns the name of the program, such as "authd".
func (p Part) Program() string { return path.Base(p.Command) }

// Prefix returns how the names of the program's settings begin, such as "SLIPWAY_AUTH_".
func (p Part) Prefix() string { return "SLIPWAY_" + strings.ToUpper(p.Name) + "_" }
