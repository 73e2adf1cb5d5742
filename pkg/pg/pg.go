// Package pg connects a service to its PostgreSQL schema: one pool, forward-only migrations, one transaction helper.
package pg

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// DB is a pool, a connection or a transaction.
type DB interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// defaultConns is the size of a pool whose URL says nothing. pool_max_conns in the URL, which Budget computes, overrides it.
const defaultConns = 16

// Open returns a pool with schema as its search_path; a missing schema is made.
//
// The pool only accepts a primary: after a failover a connection to a node that became read-only closes itself, one to a
// server that fell silent ends within ten seconds, and the guard refuses a former primary that comes back.
func Open(ctx context.Context, url, schema string, opts ...Option) (*pgxpool.Pool, error) {
	o := options{guard: NewGuard()}
	for _, opt := range opts {
		opt(&o)
	}
	cfg, err := config(url, schema, o.guard)
	if err != nil {
		return nil, err
	}
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("open pool: %w", err)
	}
	if err := checkRoom(ctx, pool); err != nil {
		pool.Close()
		return nil, fmt.Errorf("schema %s: %w", schema, err)
	}
	if err := ensureSchema(ctx, pool, schema); err != nil {
		pool.Close()
		return nil, fmt.Errorf("schema %s: %w", schema, err)
	}
	return pool, nil
}

// Option changes how Open works.
type Option func(*options)

type options struct{ guard *Guard }

// Guarded shares a Guard among the pools of a process. By default each pool has its own.
func Guarded(g *Guard) Option { return func(o *options) { o.guard = g } }

func config(url, schema string, g *Guard) (*pgxpool.Config, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("database url: %w", err)
	}
	if !strings.Contains(url, "pool_max_conns") {
		cfg.MaxConns = defaultConns
	}
	cfg.MaxConnLifetime = 5 * time.Minute
	cfg.MaxConnLifetimeJitter = time.Minute
	cfg.MaxConnIdleTime = 2 * time.Minute
	cfg.PingTimeout = pingTimeout

	c := cfg.ConnConfig
	c.ValidateConnect = g.validate
	c.OnPgError = keepConn
	c.AfterNetConnect = g.mark
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = connectTimeout
	}
	c.DialFunc = dialer.DialContext
	s := newServers()
	s.attach(c)
	cfg.BeforeConnect = s.order
	cfg.AfterConnect = (&historian{guard: g}).begin
	cfg.PrepareConn = func(_ context.Context, c *pgx.Conn) (bool, error) { return g.holds(c.PgConn().Conn()), nil }
	c.RuntimeParams["search_path"] = pgx.Identifier{schema}.Sanitize()
	c.RuntimeParams["timezone"] = "UTC"
	// A transaction never waits for other systems, so an idle one has lost its owner and only holds locks.
	c.RuntimeParams["idle_in_transaction_session_timeout"] = "60s"
	if c.RuntimeParams["application_name"] == "" {
		c.RuntimeParams["application_name"] = "slipway/" + schema
	}
	return cfg, nil
}

// keepConn reports whether a connection is usable after this error. A read-only server answers pings, so without this rule a
// pool would stay on a demoted primary for as long as the process lives.
func keepConn(_ *pgconn.PgConn, err *pgconn.PgError) bool {
	switch err.Code {
	case codeReadOnly, codeAdminShutdown:
		return false
	}
	return err.SeverityUnlocalized != "FATAL" && err.SeverityUnlocalized != "PANIC"
}

// ensureSchema makes the schema if it is missing. It checks first, so that a service with a role that may not create schemas can
// still start if the schema exists.
func ensureSchema(ctx context.Context, pool *pgxpool.Pool, schema string) error {
	var ok bool
	err := pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)`, schema).Scan(&ok)
	if err != nil || ok {
		return err
	}
	_, err = pool.Exec(ctx, `CREATE SCHEMA IF NOT EXISTS `+pgx.Identifier{schema}.Sanitize())
	// Two processes that start together both pass IF NOT EXISTS; a unique violation means that the schema exists now.
	if code := Code(err); code == codeUnique || code == codeDuplicateSchema {
		return nil
	}
	return err
}
