// Package pgtest gives every test a PostgreSQL schema of its own on a throwaway server.
package pgtest

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"slipway.dev/pkg/pg"
)

// EnvURL names a server to use instead of starting one.
const EnvURL = "SLIPWAY_TEST_POSTGRES_URL"

var shared struct {
	once   sync.Once
	server *Server
	url    string
	err    error
}

// Main runs the tests of a package and then stops the server, if one was needed:
//
//	func TestMain(m *testing.M) { pgtest.Main(m) }
func Main(m *testing.M) {
	code := m.Run()
	if err := Stop(); err != nil {
		fmt.Fprintln(os.Stderr, "pgtest:", err)
		code = cmp.Or(code, 1)
	}
	os.Exit(code)
}

// Stop stops the server that this package started, if any, for a TestMain that does more than Main.
func Stop() error {
	if shared.server == nil {
		return nil
	}
	return shared.server.Stop()
}

// URL returns the URL of the server. Without PostgreSQL the test fails; it is never skipped.
func URL(t testing.TB) string {
	t.Helper()
	shared.once.Do(start)
	if shared.err != nil {
		t.Fatalf("tests need PostgreSQL: %v; or set %s", shared.err, EnvURL)
	}
	return shared.url
}

func start() {
	if shared.url = os.Getenv(EnvURL); shared.url != "" {
		return
	}
	if shared.server, shared.err = Start(context.Background()); shared.err == nil {
		shared.url = shared.server.URL()
	}
}

var schemas atomic.Int64

// Schema returns the URL of the server and the name of a new schema, which is dropped at the end of the test. It is for tests
// that start a whole service.
func Schema(t testing.TB) (serverURL, schema string) {
	t.Helper()
	serverURL = URL(t)
	schema = fmt.Sprintf("test_%d_%d", os.Getpid(), schemas.Add(1))
	t.Cleanup(func() {
		ctx, stop := context.WithTimeout(context.Background(), 20*time.Second)
		defer stop()
		c, err := pgx.Connect(ctx, serverURL)
		if err != nil {
			t.Errorf("drop schema: %v", err)
			return
		}
		defer c.Close(ctx)
		if _, err := c.Exec(ctx, `DROP SCHEMA IF EXISTS `+pgx.Identifier{schema}.Sanitize()+` CASCADE`); err != nil {
			t.Errorf("drop schema: %v", err)
		}
	})
	return serverURL, schema
}

// poolSize keeps tests that run in parallel below the server's limit.
const poolSize = "12"

// New returns a pool on a schema of its own with these migrations applied.
func New(t testing.TB, lines ...pg.Line) *pgxpool.Pool {
	t.Helper()
	serverURL, schema := Schema(t)
	pool := Open(t, serverURL, schema)
	if err := pg.Migrate(t.Context(), pool, lines...); err != nil {
		t.Fatal(err)
	}
	return pool
}

// Open returns another pool on a schema, closed at the end of the test.
func Open(t testing.TB, serverURL, schema string) *pgxpool.Pool {
	t.Helper()
	pool, err := pg.Open(t.Context(), limited(serverURL), schema)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closePool(t, pool) })
	return pool
}

// SchemaOf returns the schema of a pool.
func SchemaOf(pool *pgxpool.Pool) string {
	return strings.Trim(pool.Config().ConnConfig.RuntimeParams["search_path"], `"`)
}

func limited(serverURL string) string {
	u, err := url.Parse(serverURL)
	if err != nil || u.Query().Has("pool_max_conns") {
		return serverURL // not a URL: it is for pgx to say so
	}
	return With(serverURL, "pool_max_conns", poolSize)
}

// With returns the URL of a server with a setting, such as slipway.timeline_base, which makes connections by that URL find
// the server on another timeline.
func With(serverURL, setting, value string) string {
	u, err := url.Parse(serverURL)
	if err != nil {
		return serverURL
	}
	q := u.Query()
	q.Set(setting, value)
	u.RawQuery = q.Encode()
	return u.String()
}

// closePool closes the pool, and fails the test if a connection was not released in time.
func closePool(t testing.TB, pool *pgxpool.Pool) {
	done := make(chan struct{})
	go func() {
		pool.Close()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(15 * time.Second):
		t.Errorf("%d connections were not given back", pool.Stat().AcquiredConns())
	}
}
