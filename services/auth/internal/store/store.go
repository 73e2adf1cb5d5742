// Package store is all SQL of the auth service.
package store

import (
	"context"
	"embed"
	"strconv"

	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/protobuf/proto"

	auditpb "slipway.dev/proto/audit/v1"

	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/query"
	"slipway.dev/pkg/unit"
)

//go:embed migrations/*.sql
var files embed.FS

// Migrations makes the tables of the service.
var Migrations = pg.Line{Name: "auth", FS: files}

// Store reads, and begins units of work.
type Store struct {
	db    *unit.DB
	pool  *pgxpool.Pool
	lists query.Reader
}

// New makes a store of db, whose schema is migrated.
func New(db *unit.DB) *Store { return &Store{db, db.Pool, db.Lists} }

// Tx is one unit of work.
type Tx struct{ *unit.Tx }

// InTx runs fn as one unit of work, perhaps more than once.
func (s *Store) InTx(ctx context.Context, fn func(Tx) error) error {
	return s.db.InTx(ctx, func(tx *unit.Tx) error { return fn(Tx{tx}) })
}

// Aside is InTx for a unit of work that is not the change that was asked for.
func (s *Store) Aside(ctx context.Context, fn func(Tx) error) error {
	return s.db.Aside(ctx, func(tx *unit.Tx) error { return fn(Tx{tx}) })
}

// Record writes the audit record of a refused call.
func (s *Store) Record(ctx context.Context, r *auditpb.Record) error { return s.db.Record(ctx, r) }

// emit adds an event about an account.
func (t Tx) emit(ctx context.Context, subject string, account int32, m proto.Message) error {
	return t.Emit(ctx, subject, strconv.Itoa(int(account)), m)
}

// lastChange is last_notify of the lists.
const lastChange = `(SELECT (last_value & 2147483647)::integer FROM notify)`
