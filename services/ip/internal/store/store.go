// Package store is all SQL of the ip service.
package store

import (
	"context"
	"embed"
	"net/netip"
	"strconv"

	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/protobuf/proto"

	auditpb "slipway.dev/proto/audit/v1"
	ippb "slipway.dev/proto/ip/v3"

	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/query"
	"slipway.dev/pkg/unit"
)

//go:embed migrations/*.sql
var files embed.FS

// Migrations makes the tables of the service.
var Migrations = pg.Line{Name: "ip", FS: files}

// Store reads, and begins units of work.
type Store struct {
	db       *unit.DB
	pool     *pgxpool.Pool
	lists    query.Reader
	together *together
}

// New makes a store of db, whose schema is migrated.
func New(db *unit.DB) *Store {
	s := &Store{db: db, pool: db.Pool, lists: db.Lists}
	s.together = &together{store: s, queue: map[kind][]*waiting{}, busy: map[kind]int{}}
	return s
}

// Tx is one unit of work.
type Tx struct{ *unit.Tx }

// InTx runs fn as one unit of work, perhaps more than once.
func (s *Store) InTx(ctx context.Context, fn func(Tx) error) error {
	return s.db.InTx(ctx, func(tx *unit.Tx) error { return fn(Tx{tx}) })
}

// Record writes the audit record of a refused call.
func (s *Store) Record(ctx context.Context, r *auditpb.Record) error { return s.db.Record(ctx, r) }

// emit adds an event about an address. A change of its owner holds the address's row, so events of one address are in order.
func (t Tx) emit(ctx context.Context, subject string, ip netip.Addr, m proto.Message) error {
	return t.Emit(ctx, subject, ip.String(), m)
}

// bound emits which clusters a pool serves. A change of those holds the pool's row.
func (t Tx) bound(ctx context.Context, pool int32, clusters []Cluster) error {
	m := &ippb.PoolBound{Id: pool}
	for _, c := range clusters {
		m.ClusterIds = append(m.ClusterIds, c.ID)
	}
	return t.Emit(ctx, "ip.v3.pool.bound", "pool/"+strconv.Itoa(int(pool)), m)
}

// lockOwner makes units of work for one owner wait for each other.
const lockOwner = `SELECT pg_advisory_xact_lock(hashtextextended(current_schema() || ' owner ' || $1, 0))`

// lastChange is last_notify of the lists.
const lastChange = `(SELECT (last_value & 2147483647)::integer FROM notify)`
