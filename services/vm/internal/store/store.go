// Package store is all SQL of vm. Reads for lists are methods of Store, writes are methods of Tx.
package store

import (
	"context"
	"embed"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/protobuf/proto"

	auditpb "slipway.dev/proto/audit/v1"
	querypb "slipway.dev/proto/query/v1"

	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/jobs"
	"slipway.dev/pkg/outbox"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/query"
)

//go:embed migrations/*.sql
var files embed.FS

// Lines are all migrations of vm's schema.
var Lines = []pg.Line{jobs.Migrations, outbox.Migrations, {Name: "vm", FS: files}}

// Store reads and writes vm's tables.
type Store struct{ pool *pgxpool.Pool }

// New makes a store on a pool whose schema is migrated.
func New(pool *pgxpool.Pool) *Store { return &Store{pool} }

// Tx is a unit of work: rows, jobs and events commit together.
type Tx struct{ tx pgx.Tx }

// In makes a unit of work of somebody else's transaction, a job's for instance.
func In(tx pgx.Tx) Tx { return Tx{tx} }

// InTx runs f in a transaction. f may run again after a conflict.
func (s *Store) InTx(ctx context.Context, f func(Tx) error) error {
	err := pg.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		if err := f(Tx{tx}); err != nil {
			return err
		}
		return audit.Commit(ctx, func(r *auditpb.Record) error { return Tx{tx}.record(ctx, r) })
	})
	if err == nil {
		audit.Committed(ctx)
	}
	return err
}

// Record tells of a call that was refused.
func (s *Store) Record(ctx context.Context, r *auditpb.Record) error {
	return s.InTx(ctx, func(t Tx) error { return t.record(ctx, r) })
}

func (t Tx) record(ctx context.Context, r *auditpb.Record) error {
	return t.Emit(ctx, "vm.v3.audit.recorded", "audit", r)
}

// Enqueue makes a job in this unit of work.
func (t Tx) Enqueue(ctx context.Context, n jobs.New) (jobs.Job, error) {
	return jobs.Enqueue(ctx, t.tx, n)
}

// Cancel ends the unfinished jobs of a key.
func (t Tx) Cancel(ctx context.Context, key string) error {
	_, err := jobs.Cancel(ctx, t.tx, key)
	return err
}

// Emit makes an event in this unit of work.
func (t Tx) Emit(ctx context.Context, subject, key string, msg proto.Message) error {
	return outbox.Emit(ctx, t.tx, subject, key, msg)
}

// Steps returns the steps of a job, none for one that has not begun.
func (s *Store) Steps(ctx context.Context, job int32) ([]jobs.StepRecord, error) {
	return jobs.Steps(ctx, s.pool, job)
}

// one returns the row of a query, or notFound.
func one[T any](rows pgx.Rows, err error, notFound error) (T, error) {
	var zero T
	if err != nil {
		return zero, err
	}
	v, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[T])
	if errors.Is(err, pgx.ErrNoRows) {
		return zero, notFound
	}
	return v, err
}

// page runs a list: the rows of the page and the number of all that match. scope is a condition on from whose
// parameters are args.
func page[T any](ctx context.Context, s *Store, l query.List, q *querypb.Query, columns, from, scope string, args ...any) ([]T, int32, error) {
	p, err := l.Compile(q, args...)
	if err != nil {
		return nil, 0, err
	}
	rows, err := s.pool.Query(ctx, p.SQL("SELECT "+columns+" "+from, scope), p.Args...)
	if err != nil {
		return nil, 0, err
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByName[T])
	if err != nil {
		return nil, 0, err
	}
	if n := len(list); n < p.Limit && (n > 0 || p.Offset == 0) {
		return list, int32(p.Offset + n), nil // the page holds the end of the list: nothing left to count
	}
	var size int32
	err = s.pool.QueryRow(ctx, p.CountSQL(from, scope), p.Args...).Scan(&size)
	return list, size, err
}

// missing is the fault of an object that is not there, or not the caller's.
func missing(what string, id int32) error { return fault.NotFound.With("no %s %d", what, id) }
