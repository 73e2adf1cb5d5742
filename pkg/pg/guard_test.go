package pg_test

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/pg/pgtest"
)

// TestLeftBehind: another member of the installation has seen a higher timeline. Connections that a pool has end at once, with
// what they are doing, no new one is made, and requests answer that they may be repeated.
func TestLeftBehind(t *testing.T) {
	t.Parallel()
	serverURL, schema := pgtest.Schema(t)
	g := pg.NewGuard()
	pool, err := pg.Open(t.Context(), serverURL, schema, pg.Guarded(g))
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	if g.Seen() != 1 {
		t.Fatalf("a new server is on timeline %d", g.Seen())
	}
	rose := make(chan struct{}, 1)
	g.OnRise(func() { rose <- struct{}{} })
	held, err := pool.Acquire(t.Context()) // as the leader does
	if err != nil {
		t.Fatal(err)
	}
	defer held.Release()
	if err := pool.Ping(t.Context()); err != nil { // leaves a second connection idle
		t.Fatal(err)
	}
	busy := make(chan error, 1)
	go func() {
		_, err := pg.Exec(t.Context(), held, `SELECT pg_sleep(600)`)
		busy <- err
	}()
	underWay(t, pgtest.Open(t, serverURL, schema))
	g.Learn(1)
	g.Learn(2)
	<-rose
	select {
	case err := <-busy:
		if !errors.Is(err, pg.ErrUnknownCommit) {
			t.Errorf("a statement under way: %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("a statement under way goes on")
	}
	for range 3 {
		err := pg.InTx(t.Context(), pool, func(pgx.Tx) error { return nil })
		behind, ok := errors.AsType[pg.BehindError](err)
		if !errors.Is(err, fault.Unavailable) || !ok || behind != (pg.BehindError{Timeline: 1, Seen: 2}) {
			t.Errorf("a unit of work: %v", err)
		}
		if _, err := pool.Exec(t.Context(), `SELECT 1`); !errors.Is(pg.Unavailable(t.Context(), err), fault.Unavailable) {
			t.Errorf("a read: %v", err)
		}
	}
}

// TestAcceptedTimeline: what `slipway timeline accept` sets is added to the server's own timeline.
func TestAcceptedTimeline(t *testing.T) {
	t.Parallel()
	serverURL, schema := pgtest.Schema(t)
	g := pg.NewGuard()
	g.Learn(3)
	if _, err := pg.Open(t.Context(), serverURL, schema, pg.Guarded(g)); err == nil || !strings.Contains(err.Error(), "slipway timeline accept 3") {
		t.Fatalf("a restored server: %v", err)
	}
	pool, err := pg.Open(t.Context(), pgtest.With(serverURL, "slipway.timeline_base", "3"), schema, pg.Guarded(g))
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	if g.Seen() != 4 {
		t.Errorf("an accepted server is on timeline %d", g.Seen())
	}
}

// TestFormerPrimary: of two servers the one on the higher timeline is taken, whatever the order in the URL, also when the
// other was connected to before.
func TestFormerPrimary(t *testing.T) {
	t.Parallel()
	serverURL, schema := pgtest.Schema(t)
	a, b := proxy(t, serverURL), proxy(t, serverURL)
	g := pg.NewGuard()
	former, err := pg.Open(t.Context(), through(t, serverURL, a.Addr()), schema, pg.Guarded(g))
	if err != nil {
		t.Fatal(err)
	}
	defer former.Close()
	next, err := pg.Open(t.Context(), pgtest.With(through(t, serverURL, b.Addr()), "slipway.timeline_base", "1"), schema, pg.Guarded(g))
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	for range 3 {
		if err := former.Ping(t.Context()); err == nil {
			t.Error("the former primary is used")
		}
		if err := next.Ping(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// TestAcceptTimeline: an accepted database is on a higher timeline for every new session, and accepting it again changes nothing.
func TestAcceptTimeline(t *testing.T) {
	t.Parallel()
	admin, err := pg.Connect(t.Context(), pgtest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(context.WithoutCancel(t.Context()))
	// A database of its own, because all sessions on it are concerned.
	if _, err := admin.Exec(t.Context(), `CREATE DATABASE "an accepted"`); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(pgtest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/an accepted"
	for i, tt := range []struct{ seen, want int64 }{{3, 4}, {3, 4}, {2, 4}, {6, 7}} {
		conn, err := pg.Connect(t.Context(), u.String())
		if err != nil {
			t.Fatal(err)
		}
		got, err := pg.AcceptTimeline(t.Context(), conn, tt.seen)
		if closeErr := conn.Close(t.Context()); err != nil || closeErr != nil || got != tt.want {
			t.Errorf("%d: accepted after %d: %d, %v, %v", i, tt.seen, got, err, closeErr)
		}
	}
	g := pg.NewGuard()
	g.Learn(6)
	pool, err := pg.Open(t.Context(), u.String(), "accepted", pg.Guarded(g))
	if err != nil {
		t.Fatal(err)
	}
	pool.Close()
	if g.Seen() != 7 {
		t.Errorf("a pool finds it on %d", g.Seen())
	}
	if _, err := pg.AcceptTimeline(t.Context(), admin, 1<<40); err == nil {
		t.Error("a timeline that the numbers of commands have no room for is accepted")
	}
	if _, err := admin.Exec(t.Context(), `DROP DATABASE "an accepted" WITH (FORCE)`); err != nil {
		t.Error(err)
	}
}
