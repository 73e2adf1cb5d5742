package check

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"slipway.dev/pkg/pg"
)

// maxSkew is how far two clocks may differ. Leases, sessions and certificates bear more.
const maxSkew = 2 * time.Second

// database looks at replication, at who is connected, at the clock, and at histories that are not settled.
func database(ctx context.Context, c Config, r *Report) error {
	if c.Postgres == "" {
		return errors.New("no URL is given")
	}
	cfg, err := pgxpool.ParseConfig(c.Postgres)
	if err != nil {
		return err
	}
	if len(cfg.ConnConfig.Fallbacks) == 0 {
		r.miss("database", "the URL names one server; name all, so that the services find the one that takes writes")
	}
	conn, err := pg.Connect(ctx, c.Postgres)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var may bool
	if err := conn.QueryRow(ctx, `SELECT pg_has_role('pg_monitor', 'USAGE')`).Scan(&may); err != nil {
		return err
	}
	if !may {
		return errors.New("the role is neither a superuser nor a member of pg_monitor, and does not see standbys and connections")
	}
	for _, look := range []func(context.Context, *pgx.Conn, Config, *Report) error{replication, durability, processes, histories, dbClock} {
		if err := look(ctx, conn, c, r); err != nil {
			return err
		}
	}
	return nil
}

func replication(ctx context.Context, conn *pgx.Conn, _ Config, r *Report) error {
	text, synchronous, err := pg.Replication(ctx, conn)
	if err != nil {
		return err
	}
	var all, waited int
	err = conn.QueryRow(ctx, `
		SELECT count(*), count(*) FILTER (WHERE sync_state IN ('sync', 'quorum')) FROM pg_stat_replication WHERE state = 'streaming'`).
		Scan(&all, &waited)
	switch {
	case err != nil:
		return err
	case all == 0:
		r.miss("database", "no standby follows the primary")
	case !synchronous:
		r.miss("database", "replication is %s", text)
	case waited == 0:
		r.miss("database", "replication is to be %s, and none of the %d standbys is synchronous", text, all)
	default:
		r.fact("replication is %s: %d of %d standbys", text, waited, all)
	}
	return nil
}

// durability compares settings without which a crash of the primary loses what was acknowledged.
func durability(ctx context.Context, conn *pgx.Conn, _ Config, r *Report) error {
	rows, err := conn.Query(ctx, `
		SELECT name, setting FROM pg_settings WHERE name IN ('fsync', 'full_page_writes') AND setting <> 'on'
		UNION ALL SELECT name, setting FROM pg_settings WHERE name = 'synchronous_commit' AND setting IN ('off', 'local') ORDER BY 1`)
	if err != nil {
		return err
	}
	var name, setting string
	_, err = pgx.ForEachRow(rows, []any{&name, &setting}, func() error {
		r.miss("database", "%s is %s: a crash may lose what was acknowledged", name, setting)
		return nil
	})
	return err
}

// processes counts the addresses that the processes of each service connect from. Two processes on one machine are one
// address: the machine may fail.
func processes(ctx context.Context, conn *pgx.Conn, c Config, r *Report) error {
	for _, service := range c.Services {
		var n int
		err := conn.QueryRow(ctx, `
			SELECT count(DISTINCT coalesce(host(client_addr), 'socket')) FROM pg_stat_activity WHERE application_name = 'slipway/' || $1`,
			service).Scan(&n)
		switch {
		case err != nil:
			return err
		case n == 0:
			r.miss("services", "no process of %s is connected to the database", service)
		case n == 1:
			r.miss("services", "%s runs on one machine only", service)
		default:
			r.fact("%s runs on %d machines", service, n)
		}
	}
	return nil
}

func histories(ctx context.Context, conn *pgx.Conn, c Config, r *Report) error {
	timeline, err := pg.TimelineOf(ctx, conn)
	if err != nil {
		return err
	}
	r.fact("the database is on timeline %d", timeline)
	for _, service := range c.Services {
		if service != "vm" && service != "ip" {
			continue // no other service waits
		}
		var n int
		table := pgx.Identifier{service, "timeline"}.Sanitize()
		err := conn.QueryRow(ctx, `SELECT count(*) FROM `+table+` WHERE settled_at IS NULL`).Scan(&n)
		if err != nil {
			return err
		}
		if n > 0 {
			r.miss("database", "creates wait: %s has not settled what the failover may have lost", service)
		}
	}
	return nil
}

func dbClock(ctx context.Context, conn *pgx.Conn, _ Config, r *Report) error {
	var at time.Time
	before := time.Now()
	if err := conn.QueryRow(ctx, `SELECT clock_timestamp()`).Scan(&at); err != nil {
		return err
	}
	compareClocks(r, "the database", at, before, time.Now())
	return nil
}

// compareClocks compares a clock that was read between two moments of this machine.
func compareClocks(r *Report, whose string, at, before, after time.Time) {
	switch {
	case at.Before(before.Add(-maxSkew)):
		r.miss("clocks", "the clock of %s is %v behind that of this machine", whose, before.Sub(at).Round(time.Millisecond))
	case at.After(after.Add(maxSkew)):
		r.miss("clocks", "the clock of %s is %v ahead of that of this machine", whose, at.Sub(after).Round(time.Millisecond))
	default:
		r.fact("the clock of %s is right", whose)
	}
}
