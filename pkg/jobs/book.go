package jobs

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/pg"
)

// book is where a runner writes what becomes of jobs: the tables, or a Memory in simulations. TestBooksAgree holds both to
// the same. A write of somebody who holds the job no more is refused with ErrLeaseLost.
type book interface {
	claim(ctx context.Context, limit int, name string, lease time.Duration, kinds []string, unknownAfter time.Duration) ([]claimed, error)
	steps(ctx context.Context, job int32) ([]StepRecord, error)
	advance(ctx context.Context, h held, lease time.Duration, pending int, next *StepRecord) (canceled bool, err error)
	turn(ctx context.Context, h held, lease time.Duration, f *fault.Fault) (canceled bool, err error)
	undone(ctx context.Context, h held, lease time.Duration, seq int) error
	giveUp(ctx context.Context, h held, f *fault.Fault) error
	release(ctx context.Context, h held, current int, a again) error

	inTx(ctx context.Context, fn func(pgx.Tx) error) error
	finish(ctx context.Context, tx pgx.Tx, h held, pending int) error
	fail(ctx context.Context, tx pgx.Tx, h held) error

	renew(ctx context.Context, ids []int32, fences []int64, lease time.Duration) ([]beatRow, error)
	canceled(ctx context.Context, ids []int32, fences []int64) ([]beatRow, error)
	takeOver(ctx context.Context, name string) error
	prune(ctx context.Context, keep time.Duration) (int64, error)
}

// held names a lease.
type held struct {
	id    int32
	fence int64
}

func (l *lease) held() held { return held{l.run.ID, l.run.fence} }

// tables are the book that counts.
type tables struct{ pool *pgxpool.Pool }

func (t tables) inTx(ctx context.Context, fn func(pgx.Tx) error) error {
	return pg.InTx(ctx, t.pool, fn)
}

func (t tables) steps(ctx context.Context, job int32) ([]StepRecord, error) {
	return Steps(ctx, t.pool, job)
}
