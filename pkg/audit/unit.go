package audit

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	auditpb "slipway.dev/proto/audit/v1"

	"slipway.dev/pkg/pg"
)

// Unit is one try of a unit of work that is recorded.
type Unit struct {
	ctx   context.Context //nolint:containedctx // a unit of work has one, and ends with it
	write func(*auditpb.Record) error
	done  bool
}

// Record writes the record of the call now. InTx does so at the end; a unit of work whose last statement must be its last, because
// others wait for what it locks, does so before that. A second time, and on nil, it does nothing.
func (u *Unit) Record() error {
	if u == nil || u.done {
		return nil
	}
	u.done = true
	return Commit(u.ctx, u.write)
}

// InTx runs fn as one unit of work, perhaps more than once, and has write put the record of the call under way, if there is one,
// into it.
func InTx(ctx context.Context, pool *pgxpool.Pool, write func(pgx.Tx, *auditpb.Record) error, fn func(pgx.Tx, *Unit) error) error {
	err := pg.InTx(ctx, pool, func(tx pgx.Tx) error {
		u := &Unit{ctx: ctx, write: func(r *auditpb.Record) error { return write(tx, r) }}
		if err := fn(tx, u); err != nil {
			return err
		}
		return u.Record()
	})
	if err == nil {
		Committed(ctx)
	}
	return err
}
