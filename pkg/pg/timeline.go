package pg

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// maxTimeline is the highest timeline that the numbers of commands have room for.
const maxTimeline = 1<<23 - 1

// Connect returns one connection to the server among those of a URL that takes writes, whatever its timeline. It is for
// commands of operators.
func Connect(ctx context.Context, url string) (*pgx.Conn, error) {
	cfg, err := pgxpool.ParseConfig(url) // which knows the settings of a pool in the URL
	if err != nil {
		return nil, fmt.Errorf("database url: %w", err)
	}
	c := cfg.ConnConfig
	c.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = connectTimeout
	}
	conn, err := pgx.ConnectConfig(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return conn, nil
}

// TimelineOf returns the timeline that a database is on.
func TimelineOf(ctx context.Context, db DB) (n int64, err error) {
	err = db.QueryRow(ctx, `SELECT `+Timeline).Scan(&n)
	return n, err
}

// AcceptTimeline makes the database of conn one that takes over after the timeline seen, and returns the timeline that new
// connections find it on. A database that is on a higher one stays as it is. Sessions that are open keep their timeline.
func AcceptTimeline(ctx context.Context, conn *pgx.Conn, seen int64) (int64, error) {
	if seen < 1 || seen >= maxTimeline {
		return 0, fmt.Errorf("a timeline is from 1 to %d", maxTimeline-1)
	}
	now, err := TimelineOf(ctx, conn)
	if err != nil || now > seen {
		return now, err
	}
	var server int64
	var name string
	err = conn.QueryRow(ctx, `
		SELECT `+Timeline+` - coalesce(nullif(current_setting('slipway.timeline_base', true), '')::bigint, 0), current_database()`).
		Scan(&server, &name)
	if err != nil {
		return 0, err
	}
	_, err = conn.Exec(ctx, fmt.Sprintf(`ALTER DATABASE %s SET slipway.timeline_base = '%d'`, pgx.Identifier{name}.Sanitize(), seen))
	return seen + server, err
}
