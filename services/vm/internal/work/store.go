package work

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"

	"slipway.dev/pkg/jobs"
	"slipway.dev/services/vm/internal/domain"
	"slipway.dev/services/vm/internal/store"
)

// Store is what work needs of vm's rows: Tables, or a memory in simulations.
type Store interface {
	InTx(ctx context.Context, f func(Tx) error) error
	// In is the unit of work in which a job ends.
	In(tx pgx.Tx) Tx

	Build(ctx context.Context, host int32) (*store.Build, error)
	Agents(ctx context.Context) ([]store.Agent, error)
	Leftover(ctx context.Context, node int32, machine string) (endpoint string, host bool, err error)

	Now(ctx context.Context) (time.Time, error)
	Observe(ctx context.Context, node int32, since time.Time, seen []store.Sight) (changed int64, err error)
	LoseSight(ctx context.Context, node int32) error
	Strangers(ctx context.Context, node int32, since time.Time, seen []store.Sight) ([]store.Stranger, error)
	CatchUp(ctx context.Context, seen []store.Stranger) (jumped bool, err error)
	KeepStrangers(ctx context.Context, node int32, list []store.Stranger, verdicts []domain.Verdict) error
	FoldCounts(ctx context.Context) error
}

// Tx is what work does in a unit of work.
type Tx interface {
	Host(ctx context.Context, id, owner int32) (*domain.Host, error)
	SaveHost(ctx context.Context, h *domain.Host) error
	DeleteHost(ctx context.Context, id int32) error
	Bury(ctx context.Context, host int32, fence int64) error
	MayReap(ctx context.Context, node int32, machine uuid.UUID, machines int) (may, pending bool, err error)
	AddressesChanged(ctx context.Context, host, job int32) (gone []domain.Address, err error)
	AddressesUnchanged(ctx context.Context, host, job int32) error
	HoldOS(ctx context.Context, node int32, o store.OS) error
	ForgetOS(ctx context.Context, name string) error
	Enqueue(ctx context.Context, n jobs.New) (jobs.Job, error)
	Emitter
}

// Emitter is a unit of work that can tell of what happened.
type Emitter interface {
	Emit(ctx context.Context, subject, key string, msg proto.Message) error
}

// Tables is the Store that counts.
type Tables struct{ *store.Store }

// InTx runs f in a transaction.
func (t Tables) InTx(ctx context.Context, f func(Tx) error) error {
	return t.Store.InTx(ctx, func(tx store.Tx) error { return f(tx) })
}

// In makes a unit of work of a job's transaction.
func (Tables) In(tx pgx.Tx) Tx { return store.In(tx) }
