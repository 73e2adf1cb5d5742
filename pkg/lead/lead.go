// Package lead elects a leader among the processes of a service. The leader does the work that must run in one process at a
// time, such as the relay and the consumers, on one connection to the database.
package lead

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Duty is work that only the leader does.
type Duty struct {
	// Name is that of a lock in the service's schema. It stays the same from version to version: while an old process leads
	// a duty, a new one does not lead.
	Name string
	// Run works until ctx ends. If Run returns earlier it is called again, after a pause that grows from failure to failure.
	Run func(ctx context.Context, l *Leader) error
}

const (
	look     = 500 * time.Millisecond // between two attempts to become the leader
	minPause = 100 * time.Millisecond // between two runs of a duty
	maxPause = 5 * time.Second
	// lockWait bounds how long a statement of the leader waits for a row, and with it how long a duty whose row is locked
	// holds up the others. The duty fails and tries again.
	lockWait = "5s"
	// turnTime bounds a turn of one duty on the connection. A turn that is longer costs the leader its connection.
	turnTime = 30 * time.Second
	// beginTime bounds how long becoming the leader may take.
	beginTime = 10 * time.Second
)

// Run waits until no other process leads any of the duties in this schema, then runs them all, until ctx ends. The locks end
// with the connection, and duties write on that connection alone: a deposed leader cannot write. A duty that fails is run
// again, and does not stop the others; the loss of the connection stops all.
func Run(ctx context.Context, pool *pgxpool.Pool, log *slog.Logger, duties ...Duty) error {
	names := make([]string, len(duties))
	for i, d := range duties {
		names[i] = d.Name
	}
	for ctx.Err() == nil {
		if err := try(ctx, pool, log, names, duties); err != nil && ctx.Err() == nil {
			log.Warn("no leader for now", "duties", names, "err", err)
		}
		sleep(ctx, look/2+rand.N(look)/2) // #nosec G404 -- no secret: two that try at once take each other's locks
	}
	return nil
}

const (
	tryLocks = `
		SELECT coalesce(bool_and(pg_try_advisory_lock(hashtextextended('lead ' || current_schema() || ' ' || n, 0))), true)
		FROM unnest($1::text[]) AS n`
	bounds = `SET lock_timeout = '` + lockWait + `'`
	resign = `RESET lock_timeout; SELECT pg_advisory_unlock_all()`
)

// try becomes the leader, if there is none, and leads until the connection is lost or ctx ends.
func try(ctx context.Context, pool *pgxpool.Pool, log *slog.Logger, names []string, duties []Duty) error {
	begin, begun := context.WithTimeout(ctx, beginTime)
	defer begun()
	conn, err := pool.Acquire(begin)
	if err != nil {
		return err
	}
	defer conn.Release()
	defer func() {
		end, stop := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer stop()
		if _, err := conn.Conn().PgConn().Exec(end, resign).ReadAll(); err != nil {
			_ = conn.Conn().Close(end) // it must not go back to the pool with the locks
		}
	}()
	var ok bool
	if err := conn.QueryRow(begin, tryLocks, names).Scan(&ok); err != nil || !ok {
		return err
	}
	if _, err := conn.Exec(begin, bounds); err != nil {
		return err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	t := &term{ctx: ctx, conn: conn, lost: stop, turn: make(chan struct{}, 1)}
	var all sync.WaitGroup
	for _, d := range duties {
		all.Go(func() { t.repeat(ctx, log, d) })
	}
	all.Wait()
	return context.Cause(ctx)
}

// repeat runs a duty until ctx ends.
func (t *term) repeat(ctx context.Context, log *slog.Logger, d Duty) {
	l := &Leader{term: t}
	for l.pause = minPause; ; l.pause = min(2*l.pause, maxPause) {
		err := call(ctx, d, l)
		if ctx.Err() != nil {
			return
		}
		log.Warn("a duty waits", "duty", d.Name, "err", err)
		sleep(ctx, l.pause/2+rand.N(l.pause)/2) // #nosec G404 -- no secret: it spreads out repeats
	}
}

func call(ctx context.Context, d Duty, l *Leader) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return d.Run(ctx, l)
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// ErrLost says that the leader has lost its connection.
var ErrLost = errors.New("the leader has lost its connection")
