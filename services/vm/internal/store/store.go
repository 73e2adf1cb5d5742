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

	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/idem"
	"slipway.dev/pkg/jobs"
	"slipway.dev/pkg/outbox"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/query"
)

//go:embed migrations/*.sql
var files embed.FS

// Lines are all migrations of vm's schema.
var Lines = []pg.Line{jobs.Migrations, outbox.Migrations, idem.Migrations, {Name: "vm", FS: files}}

// Store reads and writes vm's tables.
type Store struct {
	pool  *pgxpool.Pool
	lists query.Reader
}

// New makes a store on a pool whose schema is migrated.
func New(pool *pgxpool.Pool, limits query.Limits) *Store {
	return &Store{pool, query.NewReader(pool, limits)}
}

// Tx is a unit of work: rows, jobs and events commit together.
type Tx struct {
	tx pgx.Tx
	// What nobody waits for goes to the database in one round trip at the end of a unit of work of this store. One of somebody
	// else's has no such end that this store knows.
	later *pgx.Batch
	unit  *audit.Unit
}

// In makes a unit of work of somebody else's transaction, a job's for instance.
func In(tx pgx.Tx) Tx { return Tx{tx: tx} }

// InTx runs f in a transaction. f may run again after a conflict.
func (s *Store) InTx(ctx context.Context, f func(Tx) error) error {
	var later *pgx.Batch
	return audit.InTx(ctx, s.pool,
		func(tx pgx.Tx, r *auditpb.Record) error { return Tx{tx: tx, later: later}.record(ctx, r) },
		func(tx pgx.Tx, u *audit.Unit) error {
			later = &pgx.Batch{}
			t := Tx{tx, later, u}
			if err := f(t); err != nil {
				return err
			}
			return t.send(ctx)
		})
}

// send writes the record of the call and what waits for the end of the unit of work.
func (t Tx) send(ctx context.Context) error {
	if err := t.unit.Record(); err != nil || t.later.Len() == 0 {
		return err
	}
	err := t.tx.SendBatch(ctx, t.later).Close()
	*t.later = pgx.Batch{}
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
	if t.later != nil {
		return outbox.Queue(t.later, subject, key, msg)
	}
	return outbox.Emit(ctx, t.tx, subject, key, msg)
}

// Answer keeps the answer to a request with an Idempotency-Key in this unit of work.
func (t Tx) Answer(ctx context.Context, m proto.Message) error { return idem.Keep(ctx, t.tx, m) }

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

// own is the scope of an owner in whose column the account is; 0 sees all.
func own(column string, owner int32) query.Scope {
	if owner == 0 {
		return query.Scope{}
	}
	return query.Scope{SQL: column + " = $1", Args: []any{owner}}
}

// now is last_notify of vm's lists. Clients only hand it back; the time serves.
const now = `extract(epoch FROM now())::int`

// missing is the fault of an object that is not there, or not the caller's.
func missing(what string, id int32) error { return fault.NotFound.With("no %s %d", what, id) }
