package lead

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"slipway.dev/pkg/pg"
)

// term is the time of one leader: from getting the locks to losing the connection.
type term struct {
	ctx  context.Context //nolint:containedctx // a term is a span of time
	conn *pgxpool.Conn
	lost context.CancelCauseFunc
	turn chan struct{} // holds a value while a duty uses conn
}

// Leader lends the connection that holds the locks to one duty.
type Leader struct {
	*term
	pause time.Duration
}

// Healthy says that the duty works: its next failure is a new one, after which it pauses only shortly.
func (l *Leader) Healthy() { l.pause = minPause }

// Lost reports whether the leader has lost its connection, or was asked to stop.
func (l *Leader) Lost() bool { return l.ctx.Err() != nil }

// Do waits for the turn of this duty and runs f on the leader's connection. f is over within 30 seconds, or the connection is
// closed under it. The end of ctx ends the wait and not f, because a statement that is broken off costs all duties the
// connection.
func (l *Leader) Do(ctx context.Context, f func(context.Context, *pgxpool.Conn) error) error {
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-l.turn }()
	if err := l.ctx.Err(); err != nil {
		return context.Cause(l.ctx)
	}
	inner, stop := context.WithTimeout(context.WithoutCancel(ctx), turnTime)
	defer stop()
	defer context.AfterFunc(l.ctx, stop)()
	err := f(inner, l.conn)
	if l.conn.Conn().IsClosed() {
		l.lost(ErrLost)
	}
	return err
}

// InTx runs f in a transaction on the leader's connection, perhaps more than once.
func (l *Leader) InTx(ctx context.Context, f func(context.Context, pgx.Tx) error) error {
	return l.Do(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
		return pg.InTxOn(ctx, conn, func(tx pgx.Tx) error { return f(ctx, tx) })
	})
}
