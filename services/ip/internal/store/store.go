// Package store is all SQL of the ip service.
package store

import (
	"context"
	"embed"
	"net/netip"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/protobuf/proto"

	auditpb "slipway.dev/proto/audit/v1"
	ippb "slipway.dev/proto/ip/v3"

	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/idem"
	"slipway.dev/pkg/outbox"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/query"
)

//go:embed migrations/*.sql
var files embed.FS

// Migrations makes the tables of the service.
var Migrations = pg.Line{Name: "ip", FS: files}

// Store reads, and begins units of work.
type Store struct {
	pool     *pgxpool.Pool
	lists    query.Reader
	poke     func()
	together *together
}

// New makes a store. poke is called when a unit of work has left events in the outbox.
func New(pool *pgxpool.Pool, limits query.Limits, poke func()) *Store {
	s := &Store{pool: pool, lists: query.NewReader(pool, limits), poke: poke}
	s.together = &together{store: s, queue: map[kind][]*waiting{}, busy: map[kind]int{}}
	return s
}

// Tx is one unit of work.
type Tx struct {
	tx   pgx.Tx
	told *bool
}

// InTx runs fn as one unit of work, perhaps more than once.
func (s *Store) InTx(ctx context.Context, fn func(Tx) error) error {
	told := false
	unit := func(tx pgx.Tx) Tx { return Tx{tx, &told} }
	err := audit.InTx(ctx, s.pool,
		func(tx pgx.Tx, r *auditpb.Record) error { return unit(tx).record(ctx, r) },
		func(tx pgx.Tx, _ *audit.Unit) error { return fn(unit(tx)) })
	if err != nil {
		return err
	}
	if told {
		s.poke()
	}
	return nil
}

// Record tells of a call that was refused.
func (s *Store) Record(ctx context.Context, r *auditpb.Record) error {
	return s.InTx(ctx, func(t Tx) error { return t.record(ctx, r) })
}

func (t Tx) record(ctx context.Context, r *auditpb.Record) error {
	*t.told = true
	return outbox.Emit(ctx, t.tx, "ip.v3.audit.recorded", "audit", r)
}

// emit tells what happened to an address. Whoever changes its owner holds its row, so events of one address are in order.
func (t Tx) emit(ctx context.Context, subject string, ip netip.Addr, m proto.Message) error {
	*t.told = true
	return outbox.Emit(ctx, t.tx, subject, ip.String(), m)
}

// bound tells which clusters a pool serves. Whoever changes that holds the pool's row.
func (t Tx) bound(ctx context.Context, pool int32, clusters []Cluster) error {
	*t.told = true
	m := &ippb.PoolBound{Id: pool}
	for _, c := range clusters {
		m.ClusterIds = append(m.ClusterIds, c.ID)
	}
	return outbox.Emit(ctx, t.tx, "ip.v3.pool.bound", "pool/"+strconv.Itoa(int(pool)), m)
}

// lockOwner makes units of work for one owner wait for each other.
const lockOwner = `SELECT pg_advisory_xact_lock(hashtextextended(current_schema() || ' owner ' || $1, 0))`

// Answer keeps the answer to a request with an Idempotency-Key in this unit of work.
func (t Tx) Answer(ctx context.Context, m proto.Message) error { return idem.Keep(ctx, t.tx, m) }

// lastChange is last_notify of the lists.
const lastChange = `(SELECT (last_value & 2147483647)::integer FROM notify)`
