package outbox

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"slipway.dev/pkg/bus"
	"slipway.dev/pkg/bus/bustest"
	"slipway.dev/pkg/pg/pgtest"
)

var made = time.Now().Truncate(time.Microsecond)

// at is what a reader of the stream that was made then reports.
func at(name string, seq uint64) bus.Reader { return bus.Reader{Name: name, Created: made, Seq: seq} }

// full is a stream of ten events that is so large that room has to be made.
var full = bus.State{Created: made, First: 1, Last: 10, Bytes: 75, MaxBytes: 100}

// TestTrim removes the older half of a stream that is nearly full, and nothing that a reader may still want.
func TestTrim(t *testing.T) {
	t.Parallel()
	pool, b := pgtest.New(t, Migrations), bustest.New(t)
	less, unbounded := full, full
	less.Bytes, unbounded.MaxBytes = 74, 0
	asLeader(t, pool, b, func(ctx context.Context, x *term) {
		for i, tt := range []struct {
			name  string
			state bus.State
			heard []bus.Reader
			away  time.Duration // how long ago one more reader was heard; never for 0
			first uint64        // of the stream then
		}{
			{"all have read all", full, []bus.Reader{at("a", 10), at("b", 10)}, 0, 5},
			{"one is behind", full, []bus.Reader{at("a", 10), at("b", 3)}, 0, 4},
			{"one has read nothing", full, []bus.Reader{at("a", 10), at("b", 0)}, 0, 1},
			{"one read another stream", full, []bus.Reader{at("a", 10), {Name: "b", Created: made.Add(1), Seq: 10}}, 0, 1},
			{"one is away", full, []bus.Reader{at("a", 10)}, bus.StreamAge, 1},
			{"one is gone", full, []bus.Reader{at("a", 10)}, bus.StreamAge + 2*time.Hour, 5},
			{"no reader", full, nil, 0, 1},
			{"there is room", less, []bus.Reader{at("a", 10)}, 0, 1},
			{"there is no bound", unbounded, []bus.Reader{at("a", 10)}, 0, 1},
		} {
			service := fmt.Sprint("s", i)
			tenEvents(t, pool, b, service)
			if tt.away > 0 {
				heardAgo(t, pool, service, "away", tt.away)
			}
			x.heard[service] = reported(tt.heard...)
			if err := x.trim(ctx, service, tt.state); err != nil {
				t.Errorf("%s: %v", tt.name, err)
			}
			s, err := b.Look(ctx, service)
			if removed := trimmedTo(t, pool, service); err != nil || s.First != tt.first || removed != int64(tt.first)-1 {
				t.Errorf("%s: begins at %d, %d are recorded as removed, %v; want %d", tt.name, s.First, removed, err, tt.first)
			}
		}
	})
}

// TestRemovedStaysRemoved: what was removed from a stream is never recorded as being there again.
func TestRemovedStaysRemoved(t *testing.T) {
	t.Parallel()
	pool, b := pgtest.New(t, Migrations), bustest.New(t)
	tenEvents(t, pool, b, "vm")
	if _, err := pool.Exec(t.Context(), `UPDATE outbox_stream SET trimmed = 9`); err != nil {
		t.Fatal(err)
	}
	asLeader(t, pool, b, func(ctx context.Context, x *term) {
		x.heard["vm"] = reported(at("a", 10))
		if err := x.trim(ctx, "vm", full); err != nil || trimmedTo(t, pool, "vm") != 9 {
			t.Errorf("%d are recorded as removed: %v", trimmedTo(t, pool, "vm"), err)
		}
	})
}

// TestKnown remembers who was heard for as long as a stream keeps an event, by stream, and writes only once an hour.
func TestKnown(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, Migrations)
	heardAgo(t, pool, "vm", "a", 2*time.Hour)
	heardAgo(t, pool, "vm", "b", 30*time.Minute)
	heardAgo(t, pool, "vm", "c", bus.StreamAge)
	heardAgo(t, pool, "vm", "d", bus.StreamAge+2*time.Hour)
	heardAgo(t, pool, "ip", "e", 2*time.Hour)
	asLeader(t, pool, nil, func(ctx context.Context, x *term) {
		names, err := x.known(ctx, "vm", []string{"a", "b", "f"})
		if err != nil || !slices.Equal(names, []string{"a", "b", "c", "f"}) {
			t.Errorf("known: %v %v", names, err)
		}
	})
	var fresh string
	if err := pool.QueryRow(t.Context(), `
		SELECT string_agg(stream || reader, ' ' ORDER BY reader) FROM outbox_reader WHERE seen_at > now() - interval '10 minutes'`,
	).Scan(&fresh); err != nil || fresh != "vma vmf" {
		t.Errorf("written: %s %v", fresh, err)
	}
}

// tenEvents publishes the events 1 to 10 of a service, whose stream the outbox knows.
func tenEvents(t *testing.T, pool *pgxpool.Pool, b *bus.Bus, service string) {
	t.Helper()
	for i := range 10 {
		bustest.Publish(t, b, bus.Event{ID: fmt.Sprint(service, "-", i), Subject: service + ".v3.a.b"})
	}
	if _, err := pool.Exec(t.Context(), `INSERT INTO outbox_stream VALUES ($1, $2)`, service, made); err != nil {
		t.Fatal(err)
	}
}

func heardAgo(t *testing.T, pool *pgxpool.Pool, service, name string, ago time.Duration) {
	t.Helper()
	if _, err := pool.Exec(t.Context(), `INSERT INTO outbox_reader VALUES ($1, $2, now() - $3::interval)`, service, name, ago); err != nil {
		t.Fatal(err)
	}
}

func reported(list ...bus.Reader) *readers {
	r := &readers{list: map[string]bus.Reader{}}
	for _, one := range list {
		r.keep(one)
	}
	return r
}

func trimmedTo(t *testing.T, pool *pgxpool.Pool, service string) (n int64) {
	t.Helper()
	if err := pool.QueryRow(t.Context(), `SELECT trimmed FROM outbox_stream WHERE name = $1`, service).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
