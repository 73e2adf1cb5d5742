package outbox

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"slipway.dev/pkg/bus"
	"slipway.dev/pkg/bus/bustest"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/pg/pgtest"
)

const checkViolation = "23514"

// TestDatabaseRefuses: an effect that the database refuses is an error of the step that wanted it, with the reason, and what was to
// follow it does not happen.
func TestDatabaseRefuses(t *testing.T) {
	t.Parallel()
	send := func(ctx context.Context, x *term) error {
		more, err := x.send(ctx)
		return errors.Join(err, someIf(more))
	}
	look := func(ctx context.Context, x *term) error {
		last, err := x.look(ctx, "vm")
		return errors.Join(err, someIf(last > 0))
	}
	trim := func(ctx context.Context, x *term) error {
		x.heard["vm"] = reported(at("a", 10))
		return x.trim(ctx, "vm", full)
	}
	for name, tt := range map[string]struct {
		sql  string
		code string
		call func(context.Context, *term) error
	}{
		"to read what waits":      {`DROP TABLE outbox`, "42P01", send},
		"to mark as sent":         {`ALTER TABLE outbox ADD CHECK (id < 4 OR sent_at IS NULL) NOT VALID`, checkViolation, send},
		"to mark as lost":         {`ALTER TABLE outbox ADD CHECK (id <> 2 OR sent_at IS NOT NULL) NOT VALID`, checkViolation, look},
		"to mark without a place": {`ALTER TABLE outbox ADD CHECK (id <> 3 OR sent_at IS NOT NULL) NOT VALID`, checkViolation, look},
		"to know a stream":        {`ALTER TABLE outbox_stream ADD CHECK (created_at < '2000-01-01') NOT VALID`, checkViolation, look},
		"to know a reader":        {`ALTER TABLE outbox_reader ADD CHECK (false) NOT VALID`, checkViolation, trim},
		"to list the readers":     {`DROP TABLE outbox_reader`, "42P01", trim},
		"to know what is removed": {`ALTER TABLE outbox_stream ADD CHECK (trimmed = 0) NOT VALID`, checkViolation, trim},
		"to read the streams": {
			`ALTER TABLE outbox_stream RENAME TO away; CREATE VIEW outbox_stream AS SELECT (1 / (count(*) - count(*)))::text AS name FROM away`,
			"22012", func(ctx context.Context, x *term) error { return x.lookAtAll(ctx) },
		},
		"to list the streams": {`DROP TABLE outbox_stream`, "42P01", func(ctx context.Context, x *term) error { return x.lookAtAll(ctx) }},
	} {
		t.Run(name, func(t *testing.T) {
			pool, b := pgtest.New(t, Migrations), bustest.New(t)
			tenEvents(t, pool, b, "vm")
			store(t, pool, stored{"vm", 4, time.Hour}, stored{"vm", 11, time.Hour}, stored{"vm", nil, time.Hour}, vm)
			if _, err := pool.Exec(t.Context(), tt.sql); err != nil {
				t.Fatal(err)
			}
			asLeader(t, pool, b, func(ctx context.Context, x *term) {
				x.ends = map[string]uint64{"vm": 10}
				if err := tt.call(ctx, x); pg.Code(err) != tt.code || errors.Is(err, errSome) {
					t.Errorf("%v, want %s", err, tt.code)
				}
				if s, err := b.Look(ctx, "vm"); err != nil || s.First != 1 {
					t.Errorf("the stream begins at %d: %v", s.First, err)
				}
			})
		})
	}
}

func someIf(b bool) error {
	if b {
		return errSome
	}
	return nil
}

// TestUnreadable: nothing is sent of a batch in which an event cannot be read whole.
func TestUnreadable(t *testing.T) {
	t.Parallel()
	pool, b := pgtest.New(t, Migrations), bustest.New(t)
	store(t, pool, vm, vm)
	if _, err := pool.Exec(t.Context(), `ALTER TABLE outbox ALTER key DROP NOT NULL; UPDATE outbox SET key = NULL WHERE id = 2`); err != nil {
		t.Fatal(err)
	}
	asLeader(t, pool, b, func(ctx context.Context, x *term) {
		if more, err := x.send(ctx); more || err == nil || places(t, pool) != "" {
			t.Errorf("%q are sent, more %v, %v", places(t, pool), more, err)
		}
	})
}

// TestBusRefuses: what the bus does not do is an error of the step that asked for it.
func TestBusRefuses(t *testing.T) {
	t.Parallel()
	pool, b, closed := pgtest.New(t, Migrations), bustest.New(t), bustest.New(t)
	closed.Close()
	store(t, pool, stored{"vm", 4, time.Hour}, vm)
	if _, err := pool.Exec(t.Context(), `INSERT INTO outbox_stream VALUES ('vm', now()), ('no stream', now())`); err != nil {
		t.Fatal(err)
	}
	refused := func(t *testing.T, pool *pgxpool.Pool, b *bus.Bus, calls map[string]func(context.Context, *term) error) {
		t.Helper()
		asLeader(t, pool, b, func(ctx context.Context, x *term) {
			for name, call := range calls {
				x.ends = nil
				if err := call(ctx, x); err == nil || errors.Is(err, errSome) {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
	refused(t, pool, closed, map[string]func(context.Context, *term) error{
		"look": func(ctx context.Context, x *term) error {
			n, err := x.look(ctx, "vm")
			return errors.Join(err, someIf(n > 0))
		},
		"send": func(ctx context.Context, x *term) error {
			more, err := x.send(ctx)
			return errors.Join(err, someIf(more))
		},
		"append": func(ctx context.Context, x *term) error {
			x.ends = map[string]uint64{"vm": 4}
			more, err := x.send(ctx)
			return errors.Join(err, someIf(more))
		},
		"hear":         func(_ context.Context, x *term) error { _, err := x.hear("vm"); return err },
		"hear to trim": func(ctx context.Context, x *term) error { return x.trim(ctx, "vm", full) },
		"fork": func(ctx context.Context, x *term) error {
			n, err := x.fork(ctx, "vm", bus.State{First: 1, Last: 8})
			return errors.Join(err, someIf(n > 0))
		},
	})
	refused(t, pool, b, map[string]func(context.Context, *term) error{
		"look at one of all": func(ctx context.Context, x *term) error { return x.lookAtAll(ctx) },
		"remove": func(ctx context.Context, x *term) error {
			x.heard["none"] = reported(at("a", 10))
			return x.trim(ctx, "none", full)
		},
	})
	if got := unsentIDs(t, pool); len(got) == 0 {
		t.Error("marked as sent")
	}
}
