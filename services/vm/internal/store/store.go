// Package store is all SQL of vm. Reads for lists are methods of Store, writes are methods of Tx.
package store

import (
	"context"
	"embed"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	auditpb "slipway.dev/proto/audit/v1"

	"slipway.dev/pkg/idem"
	"slipway.dev/pkg/jobs"
	"slipway.dev/pkg/outbox"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/query"
	"slipway.dev/pkg/unit"
)

//go:embed migrations/*.sql
var files embed.FS

// Migrations makes vm's tables.
var Migrations = pg.Line{Name: "vm", FS: files}

// Lines are all migrations of vm's schema.
var Lines = []pg.Line{jobs.Migrations, outbox.Migrations, idem.Migrations, Migrations}

// Store reads and writes vm's tables.
type Store struct {
	db    *unit.DB
	pool  *pgxpool.Pool
	lists query.Reader
}

// New makes a store of db, whose schema is migrated.
func New(db *unit.DB) *Store { return &Store{db, db.Pool, db.Lists} }

// Tx is a unit of work: rows, jobs and events commit together.
type Tx struct{ *unit.Tx }

// In makes a unit of work of a transaction that was opened elsewhere, a job's for instance.
func In(tx pgx.Tx) Tx { return Tx{unit.In(tx)} }

// InTx runs f as one unit of work, again after a conflict.
func (s *Store) InTx(ctx context.Context, f func(Tx) error) error {
	return s.db.InTx(ctx, func(tx *unit.Tx) error { return f(Tx{tx}) })
}

// Aside is InTx for a unit of work that is not the change that was asked for.
func (s *Store) Aside(ctx context.Context, f func(Tx) error) error {
	return s.db.Aside(ctx, func(tx *unit.Tx) error { return f(Tx{tx}) })
}

// Record writes the audit record of a refused call.
func (s *Store) Record(ctx context.Context, r *auditpb.Record) error { return s.db.Record(ctx, r) }

// Steps returns the steps of a job, none for one that has not begun.
func (s *Store) Steps(ctx context.Context, job int32) ([]jobs.StepRecord, error) {
	return jobs.Steps(ctx, s.pool, job)
}

// own is the scope of an owner in whose column the account is; 0 sees all.
func own(column string, owner int32) query.Scope {
	if owner == 0 {
		return query.Scope{}
	}
	return query.Scope{SQL: column + " = $1", Args: []any{owner}}
}

// now is last_notify of vm's lists. Clients only hand it back; the time serves.
const now = `extract(epoch FROM now())::int`
