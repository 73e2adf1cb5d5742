package pg

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// LeastConns is the smallest pool that a service works with: one connection holds the leader's locks, and the others are
	// for requests, jobs and loops.
	LeastConns = 6
	// spareConns are for superusers, the set-up of an installation, and people.
	spareConns = 10
)

// Share is the part of a server's connections that the processes of one service have.
type Share struct {
	Replicas int // processes, each with a pool of its own
	Weight   int // how much of what is left when all pools have LeastConns; at least 1
}

// Budget returns the size of each service's pool, so that all pools together fit a server with this max_connections. When
// they do not fit, the error names the max_connections that they need.
func Budget(maxConnections int, services map[string]Share) (map[string]int, error) {
	left, weights := maxConnections-Need(services), 0
	if left < 0 {
		return nil, fmt.Errorf("%d services need max_connections=%d of PostgreSQL, which has %d", len(services), Need(services), maxConnections)
	}
	for _, s := range services {
		weights += s.Replicas * max(1, s.Weight)
	}
	sizes := make(map[string]int, len(services))
	for name, s := range services {
		sizes[name] = LeastConns + left*max(1, s.Weight)/max(1, weights)
	}
	return sizes, nil
}

// Need returns the smallest max_connections that the pools of these services fit.
func Need(services map[string]Share) int {
	n := spareConns
	for _, s := range services {
		n += s.Replicas * LeastConns
	}
	return n
}

// Allowed returns the max_connections of the server at url.
func Allowed(ctx context.Context, url string) (n int, err error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return 0, fmt.Errorf("database url: %w", err)
	}
	conn, err := pgx.ConnectConfig(ctx, cfg.ConnConfig)
	if err != nil {
		return 0, fmt.Errorf("connect: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	err = conn.QueryRow(ctx, `SELECT current_setting('max_connections')::integer`).Scan(&n)
	return n, err
}

// checkRoom returns an error when the server cannot give a pool of this size its connections, or has none left now.
func checkRoom(ctx context.Context, pool *pgxpool.Pool) error {
	var all, used int
	err := pool.QueryRow(ctx, `
		SELECT current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer
			- coalesce(current_setting('reserved_connections', true)::integer, 0),
			(SELECT count(*)::integer FROM pg_stat_activity WHERE backend_type = 'client backend')`).Scan(&all, &used)
	if err != nil {
		return err
	}
	size := int(pool.Config().MaxConns)
	switch {
	case size > all:
		return fmt.Errorf("a pool of %d connections does not fit the server, which allows %d: "+
			"lower pool_max_conns in the URL or raise max_connections", size, all)
	case size >= LeastConns && all-used < LeastConns-1: // one of those in use is this one
		return fmt.Errorf("%d of the server's %d connections are in use, and a service needs %d: "+
			"lower pool_max_conns in the URLs of the services or raise max_connections", used, all, LeastConns)
	}
	return nil
}
