package pg

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"

	"github.com/jackc/pgx/v5/pgconn"
)

// Guard keeps the pools of a process away from servers that a failover has left behind. Each failover of PostgreSQL begins a
// new timeline. A Guard remembers the highest that was seen, by one of its pools or by other members of the installation, and
// lets no connection live whose server is on a lower one. A nil Guard knows nothing.
type Guard struct {
	mu    sync.Mutex
	seen  int64
	conns map[net.Conn]History // of the servers of connections
	rise  []func()
}

// NewGuard returns a Guard that has seen nothing.
func NewGuard() *Guard { return &Guard{conns: map[net.Conn]History{}} }

// BehindError is the error of a connection to a server that was left behind.
type BehindError struct{ Timeline, Seen int64 }

// Error implements error.
func (e BehindError) Error() string {
	return fmt.Sprintf("the server is on timeline %d, and timeline %d was seen: a failover left the server behind. If its "+
		"data is meant to be the installation's from now on, run slipway timeline accept %d", e.Timeline, e.Seen, e.Seen)
}

// Seen returns the highest timeline that was seen, 0 for none.
func (g *Guard) Seen() int64 {
	if g == nil {
		return 0
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.seen
}

// OnRise has f called whenever a higher timeline is seen, on a goroutine that f must not block.
func (g *Guard) OnRise(f func()) {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.rise = append(g.rise, f)
}

// Learn raises the highest timeline to one that another member of the installation has seen, and ends all connections to
// servers on lower ones, with what they are doing.
func (g *Guard) Learn(timeline int64) {
	if g == nil {
		return
	}
	g.mu.Lock()
	if timeline <= g.seen {
		g.mu.Unlock()
		return
	}
	g.seen = timeline
	var behind []net.Conn
	for c, of := range g.conns {
		if of.Number < timeline {
			delete(g.conns, c)
			behind = append(behind, c)
		}
	}
	calls := g.rise
	g.mu.Unlock()
	for _, c := range behind {
		_ = c.Close() // it is useless whatever happens
	}
	for _, f := range calls {
		f()
	}
}

// admit lets a connection live unless its server was left behind.
func (g *Guard) admit(c net.Conn, h History) error {
	g.Learn(h.Number)
	g.mu.Lock()
	defer g.mu.Unlock()
	if h.Number < g.seen {
		return BehindError{h.Number, g.seen}
	}
	g.conns[c] = h
	return nil
}

// holds reports whether a connection was admitted and did not end since.
func (g *Guard) holds(c net.Conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, ok := g.conns[c]
	return ok
}

// historyOf returns the history that the server of an admitted connection is on.
func (g *Guard) historyOf(c net.Conn) History {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.conns[c]
}

func (g *Guard) forget(c net.Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.conns, c)
}

// Timeline is SQL for the timeline of the database. What `slipway timeline accept` has set is added to the server's own, which
// begins at 1 again in a new cluster.
const Timeline = `(coalesce(nullif(current_setting('slipway.timeline_base', true), '')::bigint, 0)
	+ ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::bigint)`

// state is one round trip for all that is to be known of the server of a new connection.
const state = `
	SELECT current_setting('transaction_read_only'), CASE WHEN NOT pg_is_in_recovery() THEN ` + Timeline + ` END,
		(SELECT system_identifier FROM pg_control_system())`

var errReadOnly = errors.New("the server takes no writes")

// validate is for pgconn.Config.ValidateConnect. It refuses servers that take no writes, and those that were left behind.
func (g *Guard) validate(ctx context.Context, c *pgconn.PgConn) error {
	results, err := c.Exec(ctx, state).ReadAll()
	if err != nil {
		return fmt.Errorf("read the timeline: %w", err)
	}
	if len(results) != 1 || len(results[0].Rows) != 1 {
		return errors.New("read the timeline: no row")
	}
	row := results[0].Rows[0]
	if string(row[0]) != "off" || row[1] == nil {
		return errReadOnly
	}
	number, err := strconv.ParseInt(string(row[1]), 10, 64)
	system, systemErr := strconv.ParseInt(string(row[2]), 10, 64)
	if err = errors.Join(err, systemErr); err != nil {
		return fmt.Errorf("read the timeline: %w", err)
	}
	return g.admit(c.Conn(), History{System: system, Number: number})
}
