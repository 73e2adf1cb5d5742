package setup

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"slipway.dev/deploy/parts"
	"slipway.dev/pkg/pg"
)

// role is a service's role in PostgreSQL.
func role(service string) string { return "slipway_" + service }

// Migrate makes the schemas and, for each, a role that may read and write rows of this one and do nothing else.
func Migrate(ctx context.Context, c Config) error {
	pw, err := c.secret("postgres")
	if err != nil {
		return err
	}
	if err := c.fits(ctx, c.databaseURL(superuser, pw)); err != nil {
		return err
	}
	pools, closePools, err := c.pools(ctx)
	if err != nil {
		return err
	}
	defer closePools()
	for _, p := range parts.Services(c.table()) {
		pw, err := c.secret("postgres-" + p.Name)
		if err == nil {
			err = p.Migrate(ctx, pools[p.Name])
		}
		if err == nil {
			err = grant(ctx, pools[p.Name], p.Name, pw)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
	}
	return nil
}

// fits returns an error when the server at url allows fewer connections than the pools of all services may take together.
func (c Config) fits(ctx context.Context, url string) error {
	allowed, err := pg.Allowed(ctx, url)
	if err != nil {
		return err
	}
	if allowed < c.PostgresConnections {
		return fmt.Errorf("PostgreSQL allows max_connections=%d and SLIPWAY_POSTGRES_CONNECTIONS is %d: make them equal",
			allowed, c.PostgresConnections)
	}
	return nil
}

// setupConns is the size of each pool of the set-up: it does one thing at a time.
const setupConns = 4

// pools returns a pool of the superuser on each schema, and what closes the pools.
func (c Config) pools(ctx context.Context) (pools map[string]*pgxpool.Pool, closePools func(), err error) {
	pw, err := c.secret("postgres")
	if err != nil {
		return nil, nil, err
	}
	pools = map[string]*pgxpool.Pool{}
	closePools = func() {
		for _, p := range pools {
			p.Close()
		}
	}
	for _, p := range parts.Services(c.table()) {
		pool, err := pg.Open(ctx, parts.WithConns(c.databaseURL(superuser, pw), setupConns), p.Name)
		if err != nil {
			closePools()
			return nil, nil, err
		}
		pools[p.Name] = pool
	}
	return pools, closePools, nil
}

func grant(ctx context.Context, pool *pgxpool.Pool, schema, password string) error {
	who, where := pgx.Identifier{role(schema)}.Sanitize(), pgx.Identifier{schema}.Sanitize()
	var there bool
	if err := pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)`, role(schema)).Scan(&there); err != nil {
		return err
	}
	verb := "ALTER"
	if !there {
		verb = "CREATE"
	}
	// A password cannot be a parameter here; ours are letters and digits.
	if !plain(password) {
		return errors.New("the password of a role is not plain text")
	}
	for _, sql := range []string{
		verb + ` ROLE ` + who + ` LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD '` + password + `'`,
		`GRANT USAGE ON SCHEMA ` + where + ` TO ` + who,
		`GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA ` + where + ` TO ` + who,
		`GRANT USAGE, SELECT, UPDATE ON ALL SEQUENCES IN SCHEMA ` + where + ` TO ` + who,
		`REVOKE CREATE ON SCHEMA public FROM PUBLIC`,
	} {
		if _, err := pool.Exec(ctx, sql); err != nil {
			return fmt.Errorf("role %s: %w", role(schema), err)
		}
	}
	return nil
}

func plain(s string) bool {
	for _, c := range s {
		if !('0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z') {
			return false
		}
	}
	return s != ""
}
