// Package unit is the one unit of work: rows, events, jobs, the audit record and the kept answer of a call commit together.
package unit

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	auditpb "slipway.dev/proto/audit/v1"

	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/query"
)

// DB begins the units of work of one service, and reads outside of them.
type DB struct {
	Pool  *pgxpool.Pool // on the service's schema
	Lists query.Reader
	// Audit writes an audit record in a unit of work. Without it no unit of work has a record.
	Audit func(context.Context, *Tx, *auditpb.Record) error
	// PokeRelay and PokeJobs run after the commit of a unit of work that left events or jobs. Either may be nil.
	PokeRelay, PokeJobs func()
}

// AuditEvents returns a DB.Audit that emits each record as an event, which auth's log takes in.
func AuditEvents(subject string) func(context.Context, *Tx, *auditpb.Record) error {
	return func(ctx context.Context, tx *Tx, r *auditpb.Record) error { return tx.Emit(ctx, subject, "audit", r) }
}

// InTx runs f as one unit of work and commits it, with the audit record of the call under way if no earlier unit of work of
// the call has committed that. f runs again, on a new Tx, after a serialization failure or a deadlock.
func (d *DB) InTx(ctx context.Context, f func(*Tx) error) error {
	var last *Tx // the run that committed
	err := pg.InTx(ctx, d.Pool, func(tx pgx.Tx) error {
		last = &Tx{tx: tx, later: &pgx.Batch{}, audit: d.Audit}
		if err := f(last); err != nil {
			return err
		}
		return last.Last(ctx, nil)
	})
	if err == nil || errors.Is(err, pg.ErrUnknownCommit) { // the latter may have committed, and a poke too many is harmless
		d.poke(last)
	}
	if err != nil {
		return err
	}
	if last.recorded {
		audit.Committed(ctx)
	}
	for _, after := range last.after {
		after()
	}
	return nil
}

func (d *DB) poke(tx *Tx) {
	if tx.events && d.PokeRelay != nil {
		d.PokeRelay()
	}
	if tx.jobs && d.PokeJobs != nil {
		d.PokeJobs()
	}
}

// Aside is InTx for a unit of work that is not the requested change, such as refreshing a copy or counting a failed login: the
// audit record of the call is left to the unit of work that makes the change.
func (d *DB) Aside(ctx context.Context, f func(*Tx) error) error {
	return d.InTx(audit.Without(ctx), f)
}

// Record writes the audit record of a refused call in a unit of work of its own.
func (d *DB) Record(ctx context.Context, r *auditpb.Record) error {
	return d.Aside(ctx, func(tx *Tx) error { return d.Audit(ctx, tx, r) })
}

// Exec runs a statement outside of a unit of work. Its error is pg.ErrUnknownCommit when the statement may have taken effect.
func (d *DB) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	return pg.Exec(ctx, d.Pool, sql, args...)
}

// Query reads rows outside of a unit of work. It must not write.
func (d *DB) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	return d.Pool.Query(ctx, sql, args...)
}

// QueryRow reads one row outside of a unit of work. It must not write.
func (d *DB) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	return d.Pool.QueryRow(ctx, sql, args...)
}
