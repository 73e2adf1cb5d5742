package pg_test

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slipway.dev/pkg/faulty"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/pg/pgtest"
)

// TestSilenceIsBounded reads the settings of a connection back from the kernel.
func TestSilenceIsBounded(t *testing.T) {
	t.Parallel()
	_, pool, _ := behind(t)
	conn, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	tcp, ok := pg.Socket(conn.Conn().PgConn().Conn()).(*net.TCPConn)
	if !ok {
		t.Fatal("no TCP")
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]struct{ level, option, want int }{
		"TCP_USER_TIMEOUT": {unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 8000},
		"SO_KEEPALIVE":     {unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		"TCP_KEEPIDLE":     {unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 4},
		"TCP_KEEPINTVL":    {unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 2},
		"TCP_KEEPCNT":      {unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 3},
	} {
		err := raw.Control(func(fd uintptr) {
			if got, err := unix.GetsockoptInt(int(fd), o.level, o.option); err != nil || got != o.want {
				t.Errorf("%s is %d, want %d: %v", name, got, o.want, err)
			}
		})
		if err != nil {
			t.Error(err)
		}
	}
	if c := pool.Config(); c.PingTimeout != 2*time.Second || c.ConnConfig.ConnectTimeout != 3*time.Second {
		t.Errorf("pings may take %v and connecting %v", c.PingTimeout, c.ConnConfig.ConnectTimeout)
	}
}

// TestSilentServer: the link to the server is cut without a word, with a statement under way and connections idle, and another
// server takes over. New connections go there at once from the first on.
func TestSilentServer(t *testing.T) {
	t.Parallel()
	serverURL, schema := pgtest.Schema(t)
	a, b := proxy(t, serverURL), proxy(t, serverURL)
	b.Refuse()
	pool := pgtest.Open(t, through(t, serverURL, a.Addr()+","+b.Addr()), schema)
	conn, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	if err := pool.Ping(t.Context()); err != nil { // leaves a second connection idle
		t.Fatal(err)
	}
	cut(t, a)
	if err := b.Open(); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	held := make(chan error, 1)
	go func() {
		_, err := conn.Exec(context.WithoutCancel(t.Context()), `SELECT 1`)
		held <- err
	}()
	if err := ping(t, pool, 15*time.Second); err != nil {
		t.Errorf("requests are not back after %v: %v", time.Since(start), err)
	}
	t.Logf("requests are back after %v", time.Since(start))
	select {
	case err := <-held:
		if err == nil {
			t.Error("the silent server answered")
		}
	case <-time.After(15*time.Second - time.Since(start)):
		t.Error("a statement waits for the silent server")
	}
	pool.Reset()
	start = time.Now()
	if err := ping(t, pool, 15*time.Second); err != nil || time.Since(start) >= 3*time.Second {
		t.Errorf("a new connection took %v, because it tried the silent server first: %v", time.Since(start), err)
	}
}

func cut(t *testing.T, p *faulty.Proxy) {
	t.Helper()
	if err := p.Silence(); err != nil {
		t.Fatal(err)
	}
}

func ping(t *testing.T, pool interface{ Ping(context.Context) error }, within time.Duration) error {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), within)
	defer stop()
	for {
		err := pool.Ping(ctx)
		if err == nil || ctx.Err() != nil {
			return err
		}
	}
}

// TestKeywordsAndValues: a database may be named without a URL.
func TestKeywordsAndValues(t *testing.T) {
	t.Parallel()
	serverURL, schema := pgtest.Schema(t)
	p := proxy(t, serverURL)
	host, port, err := net.SplitHostPort(p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	dsn := strings.Join([]string{"user=slipway", "dbname=slipway", "sslmode=disable", "host=" + host, "port=" + port, "pool_max_conns=7"}, " ")
	pool, err := pg.Open(t.Context(), dsn, schema)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	if n := pool.Config().MaxConns; n != 7 {
		t.Errorf("%d connections", n)
	}
}
