package lead_test

import (
	"context"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"slipway.dev/pkg/faulty"
	"slipway.dev/pkg/lead"
	"slipway.dev/pkg/pg/pgtest"
)

// behind returns the URL of the server of the tests with proxies in front of it, as two servers.
func behind(t *testing.T, serverURL string) (both string, a, b *faulty.Proxy) {
	t.Helper()
	u, err := url.Parse(serverURL)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	network, target := "tcp", u.Host
	if dir := q.Get("host"); dir != "" {
		network, target = "unix", filepath.Join(dir, ".s.PGSQL."+q.Get("port"))
	}
	var proxies [2]*faulty.Proxy
	for i := range proxies {
		if proxies[i], err = faulty.NewProxy(network, target); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(proxies[i].Close)
	}
	q.Del("host")
	q.Del("port")
	u.Host, u.RawQuery = proxies[0].Addr()+","+proxies[1].Addr(), q.Encode()
	return u.String(), proxies[0], proxies[1]
}

// TestSilentServerIsLeft: the link to the leader's server is cut without a word and another server takes writes. The leader
// works there within 15 seconds.
func TestSilentServerIsLeft(t *testing.T) {
	t.Parallel()
	serverURL, schema := pgtest.Schema(t)
	both, a, b := behind(t, serverURL)
	b.Refuse()
	works := make(chan struct{})
	start(t, pgtest.Open(t, both, schema), lead.Duty{Name: "a", Run: func(ctx context.Context, l *lead.Leader) error {
		for {
			err := l.Do(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
				_, err := c.Exec(ctx, `SELECT 1`)
				return err
			})
			if err != nil {
				return err
			}
			select {
			case works <- struct{}{}:
			case <-ctx.Done():
				return nil
			}
		}
	}})
	within(t, "work", works)
	if err := a.Silence(); err != nil {
		t.Fatal(err)
	}
	if err := b.Open(); err != nil {
		t.Fatal(err)
	}
	cut := time.Now()
	within(t, "a turn that was over", works)
	within(t, "work on the other server", works)
	if took := time.Since(cut); took > 15*time.Second {
		t.Errorf("the leader is back after %v", took)
	} else {
		t.Logf("the leader is back after %v", took)
	}
}
