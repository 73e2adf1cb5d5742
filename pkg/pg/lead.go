package pg

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Lead waits until no other process leads name in this schema, then runs lead on the connection that holds the lock.
// The lock ends with the connection, so lead does its writes on it: a deposed leader cannot write.
func Lead(ctx context.Context, pool *pgxpool.Pool, name string, lead func(context.Context, *pgxpool.Conn) error) error {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		led, err := tryLead(ctx, pool, name, lead)
		if led || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

const leadLock = `hashtextextended('lead ' || current_schema() || ' ' || $1, 0)`

func tryLead(ctx context.Context, pool *pgxpool.Pool, name string,
	lead func(context.Context, *pgxpool.Conn) error,
) (bool, error) {
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return false, err
	}
	defer conn.Release()
	var ok bool
	if err := conn.QueryRow(ctx, `SELECT pg_try_advisory_lock(`+leadLock+`)`, name).Scan(&ok); err != nil || !ok {
		return false, err
	}
	err = lead(ctx, conn)

	end, stop := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer stop()
	if _, unlockErr := conn.Exec(end, `SELECT pg_advisory_unlock(`+leadLock+`)`, name); unlockErr != nil {
		// The connection must not go back to the pool with the lock.
		return true, errors.Join(err, conn.Conn().Close(end))
	}
	return true, err
}
