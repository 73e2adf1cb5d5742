package pg

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/fault"
)

// ErrUnknownCommit is the error of a connection that broke during a commit, or during a statement that commits at once: the
// changes may or may not have been committed. The caller must look up its rows, by an id of its own, before it repeats them.
var ErrUnknownCommit = fault.New(codes.Unavailable, "COMMIT_UNKNOWN",
	"the service lost its database while it was saving; look whether the change was made before repeating the request")

const (
	tries     = 5
	baseDelay = 10 * time.Millisecond
)

// InTx runs fn in a transaction (READ COMMITTED) and commits it. After a serialization failure or a deadlock fn runs again, at
// most five times in all, so fn must not keep state from an earlier run. An unknown commit is never retried. A panic in fn
// rolls back.
func InTx(ctx context.Context, pool *pgxpool.Pool, fn func(pgx.Tx) error) error {
	return inTx(ctx, pool, fn)
}

// InTxOn is InTx on a connection that the caller holds.
func InTxOn(ctx context.Context, conn *pgxpool.Conn, fn func(pgx.Tx) error) error {
	return inTx(ctx, conn, fn)
}

type beginner interface {
	Begin(ctx context.Context) (pgx.Tx, error)
}

func inTx(ctx context.Context, db beginner, fn func(pgx.Tx) error) error {
	for try := 1; ; try++ {
		err := once(ctx, db, fn)
		if !retriable(err) {
			return err
		}
		if try == tries {
			return fault.Unavailable.Wrap(err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(rand.N(baseDelay << try)): // #nosec G404 -- no secret: it spreads out repeats
		}
	}
}

func once(ctx context.Context, db beginner, fn func(pgx.Tx) error) error {
	tx, err := db.Begin(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return err
		}
		return fault.Unavailable.Wrap(err) // nothing was done: the caller may repeat
	}
	done := false
	defer func() {
		if !done {
			rollback(ctx, tx)
		}
	}()
	if err := fn(tx); err != nil {
		if _, isFault := fault.From(err); !isFault && tx.Conn().IsClosed() && ctx.Err() == nil {
			return fault.Unavailable.Wrap(err) // it broke before the commit: nothing was done
		}
		return Unavailable(ctx, err)
	}
	done = true // Commit ends the transaction, or breaks the connection
	return commit(ctx, tx)
}

func commit(ctx context.Context, tx pgx.Tx) error {
	err := tx.Commit(ctx)
	if err == nil {
		return nil
	}
	// Only a plain ERROR, after which the session goes on, proves that the transaction was rolled back.
	e, answered := errors.AsType[*pgconn.PgError](err)
	if answered && e.SeverityUnlocalized == "ERROR" || errors.Is(err, pgx.ErrTxCommitRollback) {
		rollback(ctx, tx)
		return Unavailable(ctx, err)
	}
	return ErrUnknownCommit.Wrap(err)
}

// rollback rolls back under a timeout of its own, because the usual reason for a rollback is that ctx has ended.
func rollback(ctx context.Context, tx pgx.Tx) {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer stop()
	_ = tx.Rollback(ctx) // when it fails the connection is closed, which rolls back as well
}

func retriable(err error) bool {
	c := Code(err)
	if errors.Is(err, ErrUnknownCommit) {
		return false
	}
	return c == codeSerialization || c == codeDeadlock
}
