package outbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"slipway.dev/pkg/bus"
	"slipway.dev/pkg/lead"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/pg/pgtest"
)

// stored is an event of an outbox: the service it belongs to, its place in the stream, and how long ago it was sent; not at
// all for 0.
type stored struct {
	service string
	seq     any
	ago     time.Duration
}

func store(t *testing.T, pool *pgxpool.Pool, list ...stored) {
	t.Helper()
	for i, x := range list {
		if _, err := pool.Exec(t.Context(), `
			INSERT INTO outbox (event_id, subject, key, type, data, seq, sent_at)
			VALUES ($1, $2, 'k', 'x', '', $3, CASE WHEN $4::interval > '0' THEN now() - $4::interval END)`,
			uuid.NewSHA1(uuid.Nil, fmt.Append(nil, i+1)), x.service+".v3.a.b", x.seq, x.ago); err != nil {
			t.Fatal(err)
		}
	}
}

func unsentIDs(t *testing.T, pool *pgxpool.Pool) (ids []int32) {
	t.Helper()
	rows, err := pool.Query(t.Context(), `SELECT id::integer FROM outbox WHERE sent_at IS NULL ORDER BY id`)
	if err != nil {
		t.Fatal(err)
	}
	if ids, err = pgx.CollectRows(rows, pgx.RowTo[int32]); err != nil {
		t.Fatal(err)
	}
	return ids
}

// TestUnmark checks which events count as lost, by what the relay sees of the stream.
func TestUnmark(t *testing.T) {
	t.Parallel()
	now := time.Now().Truncate(time.Microsecond)
	const hour, old = time.Hour, bus.StreamAge + time.Hour
	events := []stored{
		{"vm", 5, hour}, {"vm", 6, hour}, {"vm", 7, hour}, {"vm", 8, hour}, // 1 to 4
		{"vm", nil, hour}, {"vm", nil, 0}, {"ip", 7, hour}, {"vm", 2, old}, // 5 has no known place, 6 is not sent yet, 8 is old
	}
	whole := bus.State{Created: now, First: 3, Last: 8}
	for name, tt := range map[string]struct {
		state   bus.State
		other   uint64
		want    []int32
		n       int64
		trimmed int
	}{
		"all is there":              {whole, 9, []int32{6}, 0, 0},
		"the end is gone":           {bus.State{Created: now, First: 3, Last: 6}, 7, []int32{3, 4, 5, 6}, 3, 0},
		"the end is gone, unseen":   {bus.State{Created: now, First: 3, Last: 6}, 9, []int32{3, 4, 5, 6}, 3, 0},
		"another event from 7 on":   {whole, 7, []int32{3, 4, 5, 6}, 3, 0},
		"a gap":                     {bus.State{Created: now, First: 3, Last: 8, Gone: []uint64{4, 6}}, 9, []int32{2, 5, 6}, 2, 0},
		"the start is gone":         {bus.State{Created: now, First: 6, Last: 8}, 9, []int32{1, 5, 6}, 2, 0},
		"the start is where it was": {bus.State{Created: now, First: 5, Last: 8}, 9, []int32{6}, 0, 0},
		"the start was removed":     {bus.State{Created: now, First: 7, Last: 8}, 9, []int32{2, 5, 6}, 2, 5},
		"made anew":                 {bus.State{Created: now.Add(time.Second), First: 1, Last: 0}, 1, []int32{1, 2, 3, 4, 5, 6, 8}, 6, 0},
		"numbers beyond PostgreSQL": {bus.State{Created: now, First: 3, Last: math.MaxUint64}, math.MaxUint64, []int32{6}, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			pool := pgtest.New(t, Migrations)
			store(t, pool, events...)
			if _, err := pool.Exec(t.Context(), `INSERT INTO outbox_stream VALUES ('vm', $1, $2), ('ip', now(), 100)`, now, tt.trimmed); err != nil {
				t.Fatal(err)
			}
			var n int64
			if err := pg.InTx(t.Context(), pool, func(tx pgx.Tx) (err error) {
				n, err = unmark(t.Context(), tx, "vm", tt.state, tt.other)
				return err
			}); err != nil {
				t.Fatal(err)
			}
			if got := unsentIDs(t, pool); !slices.Equal(got, tt.want) || n != tt.n {
				t.Errorf("%v are sent again, %d count; want %v, %d", got, n, tt.want, tt.n)
			}
			var placed int
			if err := pool.QueryRow(t.Context(), `SELECT count(*) FROM outbox WHERE sent_at IS NULL AND seq IS NOT NULL`).Scan(&placed); err != nil || placed > 0 {
				t.Errorf("%d unsent events have a place: %v", placed, err)
			}
		})
	}
}

// asLeader runs f in a term of a relay on a bus, which may be nil. A panic of f fails the test.
func asLeader(t *testing.T, pool *pgxpool.Pool, b *bus.Bus, f func(context.Context, *term)) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ran, ended := false, false
	err := lead.Run(ctx, pool, slog.New(slog.DiscardHandler), lead.Duty{Name: "outbox", Run: func(ctx context.Context, l *lead.Leader) error {
		defer stop()
		if !ran {
			ran = true
			f(ctx, &term{Relay: NewRelay(pool, b, slog.New(slog.DiscardHandler)), leader: l})
			ended = true
		}
		return nil
	}})
	if err != nil || !ended {
		t.Errorf("ran %v, to its end %v: %v", ran, ended, err)
	}
}

// TestNear finds the place to compare next.
func TestNear(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, Migrations)
	store(t, pool, stored{"vm", 3, 1}, stored{"vm", 5, 1}, stored{"vm", 9, 1}, stored{"ip", 4, 1}, stored{"ip", 8, 1}, stored{"vm", nil, 0})
	asLeader(t, pool, nil, func(ctx context.Context, x *term) {
		for _, tt := range []struct{ from, probe, to, want uint64 }{
			{1, 6, 10, 5},
			{1, 5, 10, 5},
			{1, 4, 10, 3},
			{1, 9, 10, 9},
			{1, 20, 21, 9},
			{3, 3, 10, 3},
			{4, 4, 10, 5},
			{6, 7, 10, 9},
			{6, 8, 9, 0},
			{6, 6, 9, 0},
			{10, 12, 20, 0},
			{1, 2, 3, 0},
			{1, 2, 4, 3},
		} {
			seq, id, err := x.near(ctx, "vm", tt.from, tt.probe, tt.to)
			if tt.want == 0 {
				if !errors.Is(err, pgx.ErrNoRows) {
					t.Errorf("%+v: %d %v", tt, seq, err)
				}
				continue
			}
			n := map[uint64]int{3: 1, 5: 2, 9: 3}[tt.want]
			if err != nil || seq != tt.want || id != uuid.NewSHA1(uuid.Nil, fmt.Append(nil, n)).String() {
				t.Errorf("%+v: %d %s %v", tt, seq, id, err)
			}
		}
	})
}

// TestMarkAndPrune marks events by their ids and removes old ones, at most once in ten minutes.
func TestMarkAndPrune(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, Migrations)
	store(t, pool, stored{"vm", nil, 0}, stored{"vm", nil, 0}, stored{"vm", nil, 0}, stored{"vm", 1, kept - time.Minute}, stored{"vm", 2, kept + time.Minute})
	count := func() (n int) {
		if err := pool.QueryRow(t.Context(), `SELECT count(*) FROM outbox`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	asLeader(t, pool, nil, func(ctx context.Context, x *term) {
		rows, err := x.unsent(ctx)
		if err != nil || len(rows) != 3 || rows[0].ID != 1 || rows[2].ID != 3 || rows[0].stream() != "vm" {
			t.Fatalf("%+v %v", rows, err)
		}
		if err := x.mark(ctx, rows[:2], []uint64{7, 9}); err != nil {
			t.Error(err)
		}
		var places string
		if err := pool.QueryRow(ctx, `SELECT string_agg(id || ':' || seq, ' ' ORDER BY id) FROM outbox WHERE id < 4`).Scan(&places); err != nil || places != "1:7 2:9" {
			t.Errorf("%s %v", places, err)
		}
		x.pruned = time.Now().Add(-pruning + time.Minute)
		if err := x.prune(ctx); err != nil || count() != 5 {
			t.Errorf("pruned too early: %d stay, %v", count(), err)
		}
		x.pruned = time.Now().Add(-pruning - time.Second)
		if err := x.prune(ctx); err != nil || count() != 4 {
			t.Errorf("%d stay, %v", count(), err)
		}
		if time.Since(x.pruned) > time.Minute {
			t.Error("the time of pruning is not kept")
		}
		if _, err := pool.Exec(ctx, `ALTER TABLE outbox RENAME TO away; ALTER TABLE outbox_stream RENAME TO away_stream`); err != nil {
			t.Fatal(err)
		}
		x.pruned = time.Time{}
		for name, call := range map[string]func() error{
			"unsent": func() error { list, err := x.unsent(ctx); return errors.Join(err, some(len(list))) },
			"mark":   func() error { return x.mark(ctx, rows[:1], []uint64{1}) },
			"prune":  func() error { return x.prune(ctx) },
			"look":   func() error { return x.lookAtAll(ctx) },
			"near":   func() error { _, _, err := x.near(ctx, "vm", 1, 2, 3); return err },
			"fork": func() error {
				n, err := x.fork(ctx, "vm", bus.State{First: 1, Last: 8})
				return errors.Join(err, some(int(n)))
			},
		} {
			if err := call(); err == nil || errors.Is(err, errSome) || errors.Is(err, pgx.ErrNoRows) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

var errSome = errors.New("something beside the error")

func some(n int) error {
	if n > 0 {
		return errSome
	}
	return nil
}

// TestWaiting counts the events that are not sent, and the time that the oldest of them waits.
func TestWaiting(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, Migrations)
	if n, age, err := Waiting(t.Context(), pool); err != nil || n != 0 || age != 0 {
		t.Errorf("%d %s %v", n, age, err)
	}
	store(t, pool, stored{"vm", nil, 0}, stored{"vm", nil, 0}, stored{"vm", 3, time.Hour})
	if _, err := pool.Exec(t.Context(), `UPDATE outbox SET occurred_at = now() - id * interval '1 hour'`); err != nil {
		t.Fatal(err)
	}
	if n, age, err := Waiting(t.Context(), pool); err != nil || n != 2 || age < 2*time.Hour || age > 150*time.Minute {
		t.Errorf("%d %s %v", n, age, err)
	}
	away, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := Waiting(away, pool); err == nil {
		t.Error("no error from a database that is away")
	}
}

// TestRepublish marks what was sent since a moment.
func TestRepublish(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, Migrations)
	store(t, pool, stored{"vm", 1, time.Hour}, stored{"vm", 2, time.Hour}, stored{"vm", 3, time.Hour}, stored{"vm", nil, 0})
	now := time.Now().Truncate(time.Second)
	if _, err := pool.Exec(t.Context(), `UPDATE outbox SET occurred_at = $1::timestamptz + id * interval '1 second'`, now); err != nil {
		t.Fatal(err)
	}
	n, err := Republish(t.Context(), pool, now.Add(2*time.Second))
	if got := unsentIDs(t, pool); err != nil || n != 2 || !slices.Equal(got, []int32{2, 3, 4}) {
		t.Errorf("%d %v %v", n, got, err)
	}
	away, cancel := context.WithCancel(t.Context())
	cancel()
	if n, err := Republish(away, pool, now); err == nil || n != 0 {
		t.Errorf("from a database that is away: %d %v", n, err)
	}
}

// TestEmitFails checks that an event that cannot be kept is no event, also in a batch.
func TestEmitFails(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, Migrations)
	away, cancel := context.WithCancel(t.Context())
	cancel()
	err := pg.InTx(t.Context(), pool, func(tx pgx.Tx) error {
		var b pgx.Batch
		for name, err := range map[string]error{
			"no text":        Emit(t.Context(), tx, "vm.v3.a.b", "k", wrapperspb.String("\xff")),
			"no text, later": Queue(&b, "vm.v3.a.b", "k", wrapperspb.String("\xff")),
			"bad subject":    Queue(&b, "vm", "k", wrapperspb.String("x")),
			"too large":      Queue(&b, "vm.v3.a.b", "k", wrapperspb.Bytes(make([]byte, maxSize))),
			"away":           Emit(away, tx, "vm.v3.a.b", "k", wrapperspb.String("x")),
		} {
			if err == nil {
				t.Errorf("%s: emitted", name)
			}
		}
		if b.Len() != 0 {
			t.Errorf("%d statements are queued", b.Len())
		}
		return Queue(&b, "vm.v3.a.b", "k", wrapperspb.Bytes(make([]byte, maxSize-16)))
	})
	if err != nil {
		t.Error(err)
	}
}

// TestFormOfIDs checks the bits of ids, and that they begin with the time.
func TestFormOfIDs(t *testing.T) {
	t.Parallel()
	form := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	seen, rest := map[string]bool{}, map[byte]bool{}
	for range 500 {
		before := time.Now().UnixMilli()
		id := newID()
		var ms int64
		_, err := fmt.Sscanf(strings.ReplaceAll(id[:13], "-", ""), "%x", &ms)
		if err != nil || ms < before || ms > time.Now().UnixMilli() || !form.MatchString(id) || seen[id] {
			t.Fatalf("%s at %d: %v", id, before, err)
		}
		seen[id], rest[id[15]], rest[id[20]] = true, true, true
	}
	if len(rest) != 16 {
		t.Errorf("only %d digits beside the version and the variant", len(rest))
	}
}
