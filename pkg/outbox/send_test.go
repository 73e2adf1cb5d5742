package outbox

import (
	"context"
	"maps"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"slipway.dev/pkg/bus"
	"slipway.dev/pkg/bus/bustest"
	"slipway.dev/pkg/pg/pgtest"
)

// places returns which events are sent, and where they are in the streams.
func places(t *testing.T, pool *pgxpool.Pool) (s string) {
	t.Helper()
	err := pool.QueryRow(t.Context(), `
		SELECT coalesce(string_agg(id || ':' || seq, ' ' ORDER BY id), '') FROM outbox WHERE sent_at IS NOT NULL`).Scan(&s)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var vm, ip = stored{"vm", nil, 0}, stored{"ip", nil, 0}

// TestSend sends what waits with one call, each event to the stream of its service, and knows then where the streams end.
func TestSend(t *testing.T) {
	t.Parallel()
	pool, b := pgtest.New(t, Migrations), bustest.New(t)
	store(t, pool, vm, ip, vm, vm, ip)
	asLeader(t, pool, b, func(ctx context.Context, x *term) {
		if more, err := x.send(ctx); more || err != nil || places(t, pool) != "1:1 2:1 3:2 4:3 5:2" {
			t.Errorf("%s are sent, more %v, %v", places(t, pool), more, err)
		}
		if want := map[string]uint64{"vm": 3, "ip": 2}; !maps.Equal(x.ends, want) {
			t.Errorf("the streams end at %v, want %v", x.ends, want)
		}
		if more, err := x.send(ctx); more || err != nil {
			t.Errorf("of nothing: more %v, %v", more, err)
		}
	})
}

// TestSendMore sends a batch at a time, and says whether there may be more.
func TestSendMore(t *testing.T) {
	t.Parallel()
	pool, b := pgtest.New(t, Migrations), bustest.New(t)
	if _, err := pool.Exec(t.Context(), `
		INSERT INTO outbox (event_id, subject, key, type, data)
		SELECT gen_random_uuid(), 'vm.v3.a.b', 'k', 'x', '' FROM generate_series(1, $1)`, batch+1); err != nil {
		t.Fatal(err)
	}
	asLeader(t, pool, b, func(ctx context.Context, x *term) {
		for _, want := range []bool{true, false} {
			if more, err := x.send(ctx); more != want || err != nil {
				t.Errorf("more %v, %v; want %v", more, err, want)
			}
		}
		if x.ends["vm"] != batch+1 {
			t.Errorf("%d are sent", x.ends["vm"])
		}
	})
}

// TestNoneOvertakesARefused: JetStream has the second event already, and so refuses the third, whose predecessor is not the last
// event. Nothing behind it is sent before it, of no stream.
func TestNoneOvertakesARefused(t *testing.T) {
	t.Parallel()
	pool, b := pgtest.New(t, Migrations), bustest.New(t)
	store(t, pool, vm, vm, vm, ip, vm)
	bustest.Publish(t, b, bus.Event{ID: uuid.NewSHA1(uuid.Nil, []byte("2")).String(), Subject: "vm.v3.a.b"})
	asLeader(t, pool, b, func(ctx context.Context, x *term) {
		if more, err := x.send(ctx); !more || err != nil || places(t, pool) != "1:2 2:1" {
			t.Errorf("%s are sent, more %v, %v", places(t, pool), more, err)
		}
		if more, err := x.send(ctx); more || err != nil || places(t, pool) != "1:2 2:1 3:3 4:1 5:4" {
			t.Errorf("%s are sent, more %v, %v", places(t, pool), more, err)
		}
	})
}

// TestLookAtAll looks at each stream that events were ever sent to.
func TestLookAtAll(t *testing.T) {
	t.Parallel()
	pool, b := pgtest.New(t, Migrations), bustest.New(t)
	store(t, pool, vm, ip, vm)
	asLeader(t, pool, b, func(ctx context.Context, x *term) {
		if _, err := x.send(ctx); err != nil {
			t.Fatal(err)
		}
		x.ends = map[string]uint64{"gone": 7}
		if err := x.lookAtAll(ctx); err != nil || !maps.Equal(x.ends, map[string]uint64{"vm": 2, "ip": 1}) {
			t.Errorf("the streams end at %v, %v", x.ends, err)
		}
		if time.Since(x.looked) > time.Minute {
			t.Error("the time of the look is not kept")
		}
	})
}
