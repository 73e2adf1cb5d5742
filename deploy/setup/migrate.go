package setup

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"slipway.dev/pkg/pg"
	"slipway.dev/services/auth"
	"slipway.dev/services/ip"
	"slipway.dev/services/vm"
)

// schemas are brought up to date in this order.
var schemas = []struct {
	name    string
	migrate func(context.Context, *pgxpool.Pool) error
}{{"auth", auth.Migrate}, {"ip", ip.Migrate}, {"vm", vm.Migrate}}

// role is a service's role in PostgreSQL.
func role(service string) string { return "slipway_" + service }

// Migrate makes the schemas and, for each, a role that may read and write rows of this one and do nothing else.
func Migrate(ctx context.Context, c Config) error {
	for _, s := range schemas {
		pw, err := c.secret("postgres-" + s.name)
		if err != nil {
			return err
		}
		err = c.as(ctx, s.name, func(pool *pgxpool.Pool) error {
			if err := s.migrate(ctx, pool); err != nil {
				return err
			}
			return grant(ctx, pool, s.name, pw)
		})
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

// as runs f with a pool of the superuser on a schema.
func (c Config) as(ctx context.Context, schema string, f func(*pgxpool.Pool) error) error {
	pw, err := c.secret("postgres")
	if err != nil {
		return err
	}
	pool, err := pg.Open(ctx, c.databaseURL(superuser, pw), schema)
	if err != nil {
		return err
	}
	defer pool.Close()
	return f(pool)
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
