package pg_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/faulty"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/pg/pgtest"
)

// behind returns a pool whose connections lead through a proxy, and one that sees the same schema without it.
func behind(t *testing.T) (p *faulty.Proxy, pool, direct *pgxpool.Pool) {
	t.Helper()
	serverURL, schema := pgtest.Schema(t)
	direct = pgtest.Open(t, serverURL, schema)
	p = proxy(t, serverURL)
	return p, pgtest.Open(t, through(t, serverURL, p.Addr()), schema), direct
}

// proxy returns a proxy to the server of the tests.
func proxy(t *testing.T, serverURL string) *faulty.Proxy {
	t.Helper()
	u, err := url.Parse(serverURL)
	if err != nil {
		t.Fatal(err)
	}
	network, target := "tcp", u.Host
	if dir := u.Query().Get("host"); dir != "" {
		network, target = "unix", filepath.Join(dir, ".s.PGSQL."+u.Query().Get("port"))
	}
	p, err := faulty.NewProxy(network, target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// through returns the URL of the server with other hosts.
func through(t *testing.T, serverURL, hosts string) string {
	t.Helper()
	u, err := url.Parse(serverURL)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Del("host")
	q.Del("port")
	u.Host, u.RawQuery = hosts, q.Encode()
	return u.String()
}

// raise is a statement that the server refuses with an SQLSTATE.
func raise(code string) string {
	return `DO $$ BEGIN RAISE 'no' USING ERRCODE = '` + code + `'; END $$`
}

// TestUnavailable: a database that is away or full is fault.Unavailable, and mistakes are not.
func TestUnavailable(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, sql string
		away      bool
	}{
		{"full disk", raise("53100"), true},
		{"too many connections", raise("53300"), true},
		{"read-only server", raise("25006"), true},
		{"server that starts", raise("57P03"), true},
		{"lost in a read", `SELECT pg_terminate_backend(pg_backend_pid())`, true},
		{"duplicate", raise("23505"), false},
		{"statement too slow", raise("57014"), false},
		{"mistake", `SELEKT`, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			pool := pgtest.New(t)
			_, err := pool.Exec(t.Context(), tt.sql)
			if err == nil || errors.Is(pg.Unavailable(t.Context(), err), fault.Unavailable) != tt.away {
				t.Errorf("outside of a transaction: %v", err)
			}
			err = pg.InTx(t.Context(), pool, func(tx pgx.Tx) error {
				_, err := tx.Exec(t.Context(), tt.sql)
				return err
			})
			if err == nil || errors.Is(err, fault.Unavailable) != tt.away {
				t.Errorf("in a transaction: %v", err)
			}
		})
	}
	over, stop := context.WithCancel(t.Context())
	stop()
	if err := pg.Unavailable(over, pgtest.New(t).Ping(over)); !errors.Is(err, context.Canceled) || errors.Is(err, fault.Unavailable) {
		t.Errorf("a caller that went away: %v", err)
	}
	if err := pg.Unavailable(t.Context(), pg.ErrUnknownCommit); !errors.Is(err, pg.ErrUnknownCommit) || errors.Is(err, fault.Unavailable) {
		t.Errorf("an unknown commit: %v", err)
	}
	if err := pg.Unavailable(t.Context(), errors.New("read tcp: connection reset by peer")); errors.Is(err, fault.Unavailable) {
		t.Error("the connection of something else is taken for the database's")
	}
}

// TestRefusedConnection: without a server both reads and writes say that nothing was done.
func TestRefusedConnection(t *testing.T) {
	t.Parallel()
	p, pool, direct := behind(t)
	if _, err := direct.Exec(t.Context(), `CREATE TABLE a (id int)`); err != nil {
		t.Fatal(err)
	}
	p.Refuse()
	for range 3 { // the first may meet a connection that the pool had
		_, err := pool.Exec(t.Context(), `SELECT id FROM a`)
		if !errors.Is(pg.Unavailable(t.Context(), err), fault.Unavailable) {
			t.Errorf("read: %v", err)
		}
	}
	if _, err := pg.Exec(t.Context(), pool, `INSERT INTO a VALUES (1)`); !errors.Is(err, fault.Unavailable) {
		t.Errorf("write: %v", err)
	}
	if err := p.Open(); err != nil {
		t.Fatal(err)
	}
	if _, err := pg.Exec(t.Context(), pool, `INSERT INTO a VALUES (1)`); err != nil {
		t.Errorf("the server is back: %v", err)
	}
}

// TestBrokenConnection: the answer to a statement is lost on its way. A read was not done, a write may have been.
func TestBrokenConnection(t *testing.T) {
	t.Parallel()
	for name, cut := range map[string]func(t *testing.T, p *faulty.Proxy, direct *pgxpool.Pool){
		"wire": func(_ *testing.T, p *faulty.Proxy, _ *pgxpool.Pool) { p.Break() },
		"server": func(t *testing.T, _ *faulty.Proxy, direct *pgxpool.Pool) {
			_, err := direct.Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity `+waiting, pgtest.SchemaOf(direct))
			if err != nil {
				t.Error(err)
			}
		},
	} {
		for _, write := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, write %v", name, write), func(t *testing.T) {
				t.Parallel()
				p, pool, direct := behind(t)
				done := make(chan error, 1)
				go func() {
					if write {
						_, err := pg.Exec(t.Context(), pool, `SELECT pg_sleep(600)`)
						done <- err
						return
					}
					_, err := pool.Exec(t.Context(), `SELECT pg_sleep(600)`)
					done <- pg.Unavailable(t.Context(), err)
				}()
				underWay(t, direct)
				cut(t, p, direct)
				err := <-done
				if write != errors.Is(err, pg.ErrUnknownCommit) || write == errors.Is(err, fault.Unavailable) {
					t.Error(err)
				}
			})
		}
	}
}

// waiting selects the statement of a test that waits.
const waiting = `WHERE application_name = 'slipway/' || $1 AND wait_event = 'PgSleep'`

// underWay waits until the server carries the statement out.
func underWay(t *testing.T, direct *pgxpool.Pool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		var n int
		err := direct.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity `+waiting, pgtest.SchemaOf(direct)).Scan(&n)
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("the statement does not begin: %v", err)
		}
		if n > 0 {
			return
		}
	}
}
