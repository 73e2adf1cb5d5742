package service

import (
	"context"
	"crypto/ed25519"
	"log/slog"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	auditpb "slipway.dev/proto/audit/v1"

	"slipway.dev/pkg/bus"
	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/fsck"
	"slipway.dev/pkg/idem"
	"slipway.dev/pkg/jobs"
	"slipway.dev/pkg/lead"
	"slipway.dev/pkg/obs"
	"slipway.dev/pkg/outbox"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/query"
	"slipway.dev/pkg/rpc"
	"slipway.dev/pkg/run"
	"slipway.dev/pkg/unit"
)

// Spec describes one service to the chassis.
type Spec struct {
	// Name of the service: of its schema, its stream of events and its certificate.
	Name string
	// Calls are the services that it cannot do without. Deps.Peers may hold more.
	Calls []string
	// Tables are the migrations of its own tables. Those of the chassis go before them.
	Tables pg.Line
	// Lists bounds what a list may cost.
	Lists query.Limits
	// Jobs are the settings of the runner; nil for a service without jobs.
	Jobs *jobs.Config
	// Audit writes the audit record of a call. By default it is emitted as <name>.v3.audit.recorded, which auth takes in.
	Audit func(context.Context, *unit.Tx, *auditpb.Record) error
	// Build makes the domain of the service on the chassis and registers its rpcs on Kit.Server.
	Build func(context.Context, *Kit) (Parts, error)
}

// Deps is what a service works with.
type Deps struct {
	Pool *pgxpool.Pool // on the service's schema
	// Guard is that of Pool. Without it a service does not hear of timelines that others have seen.
	Guard *pg.Guard
	Bus   *bus.Bus
	Log   *slog.Logger
	// Peers are connections to the services that this one calls, by their names.
	Peers Peers
	// Dial connects to the agent of the node with this id at its endpoint, for a service that commands nodes. An agent of
	// another node gets no call.
	Dial func(node, endpoint string) (grpc.ClientConnInterface, error)
}

// Peers are connections to services, by their names.
type Peers map[string]grpc.ClientConnInterface

// Kit is what the chassis offers to Spec.Build.
type Kit struct {
	Deps
	DB     *unit.DB
	Server *rpc.Server
	Jobs   *jobs.Runner // nil without Spec.Jobs
	Relay  *outbox.Relay
}

// Parts are what a service gives to the chassis besides its rpcs.
type Parts struct {
	// Keys returns the keys that verify identities. By default auth is asked for them.
	Keys func(context.Context) (map[string]ed25519.PublicKey, error)
	// Consumers take in events of other services.
	Consumers []Consumer
	// Duties are work for one process of the service at a time, besides the relay and the consumers.
	Duties []lead.Duty
	// Loops are work that every process does.
	Loops []run.Func
	// Checks are consistency checks of the service, besides those of the chassis.
	Checks []fsck.Check
	// Observe adds metrics.
	Observe func(*obs.Obs)
}

// Consumer takes in events of one service. Its Name never changes: its position and its parked events are kept under it.
type Consumer struct {
	Name string
	From string
	// On maps the subject of events to the function that applies them.
	On map[string]bus.Handle
}

func (c Consumer) bus() bus.Consumer {
	return bus.Consumer{Name: c.Name, Service: c.From, Subjects: slices.Sorted(maps.Keys(c.On))}
}

// take applies an event.
func (c Consumer) take(ctx context.Context, tx pgx.Tx, e bus.Event) error {
	handle, ok := c.On[e.Subject]
	if !ok { // parked by an earlier version, which took it in
		return fault.Invalid.With("%s takes in no %s", c.Name, e.Subject)
	}
	return handle(ctx, tx, e)
}

// On returns a handler of events that carry an M. f applies one event and must have no effect outside tx.
func On[T any, M interface {
	*T
	proto.Message
}](f func(ctx context.Context, tx *unit.Tx, m M) error) bus.Handle {
	return func(ctx context.Context, tx pgx.Tx, e bus.Event) error {
		m := M(new(T))
		if err := e.Decode(m); err != nil {
			return err
		}
		return f(ctx, unit.In(tx), m)
	}
}

// Newest is On for events that say what an object is from now on: one that is older than an event of its object that has taken
// effect already has none.
func Newest[T any, M interface {
	*T
	proto.Message
}](f func(ctx context.Context, tx *unit.Tx, m M) error) bus.Handle {
	apply := On[T, M](f)
	return func(ctx context.Context, tx pgx.Tx, e bus.Event) error {
		newer, err := bus.Newer(ctx, tx, e)
		if err != nil || !newer {
			return err
		}
		return apply(ctx, tx, e)
	}
}

// Migrate brings the schema of the service up to date.
func (s Spec) Migrate(ctx context.Context, pool *pgxpool.Pool) error {
	lines := []pg.Line{outbox.Migrations, idem.Migrations, pg.Histories, s.Tables}
	if s.Jobs != nil {
		lines = append([]pg.Line{jobs.Migrations}, lines...)
	}
	return pg.Migrate(ctx, pool, lines...)
}
