package unit_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	auditpb "slipway.dev/proto/audit/v1"

	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/jobs"
	"slipway.dev/pkg/outbox"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/pg/pgtest"
	"slipway.dev/pkg/unit"
)

type world struct {
	*testing.T
	pool         *pgxpool.Pool
	db           *unit.DB
	relay, pokes int // pokes of the relay, of the jobs runner
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, pool: pgtest.New(t, jobs.Migrations, outbox.Migrations)}
	if _, err := w.pool.Exec(t.Context(), `CREATE TABLE thing (n integer PRIMARY KEY, at serial)`); err != nil {
		t.Fatal(err)
	}
	w.db = &unit.DB{
		Pool: w.pool, Audit: unit.AuditEvents("x.v1.audit.recorded"),
		PokeRelay: func() { w.relay++ }, PokeJobs: func() { w.pokes++ },
	}
	return w
}

// things returns the rows of thing in the order in which they were written.
func (w *world) things() []int32 { return list[int32](w, `SELECT n FROM thing ORDER BY at`) }

// events returns the subjects in the outbox in the order in which they were written.
func (w *world) events() []string { return list[string](w, `SELECT subject FROM outbox ORDER BY id`) }

func list[T any](w *world, sql string) []T {
	w.Helper()
	rows, err := w.pool.Query(w.Context(), sql)
	if err != nil {
		w.Fatal(err)
	}
	l, err := pgx.CollectRows(rows, pgx.RowTo[T])
	if err != nil {
		w.Fatal(err)
	}
	return l
}

const insert = `INSERT INTO thing (n) VALUES ($1)`

// call returns a context of a call with an audit record.
func call(ctx context.Context) (context.Context, *audit.Call) {
	c := audit.New(&auditpb.Record{Action: "x.v1.Things/Make", ActorId: 3})
	return audit.With(ctx, c), c
}

func want[T comparable](t *testing.T, what string, got []T, wanted ...T) {
	t.Helper()
	if len(got) != len(wanted) {
		t.Errorf("%s: %v, want %v", what, got, wanted)
		return
	}
	for i := range got {
		if got[i] != wanted[i] {
			t.Errorf("%s: %v, want %v", what, got, wanted)
		}
	}
}

func TestLaterIsSentBeforeTheCommit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, c := call(t.Context())
	err := w.db.InTx(ctx, func(tx *unit.Tx) error {
		if err := tx.Later(ctx, insert, 2); err != nil {
			return err
		}
		if err := tx.Emit(ctx, "x.v1.thing.made", "2", &auditpb.Record{}); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, insert, 1); err != nil {
			return err
		}
		var n int
		if err := tx.QueryRow(ctx, `SELECT (SELECT count(*) FROM thing) + (SELECT count(*) FROM outbox)`).Scan(&n); err != nil {
			return err
		}
		if n != 1 {
			t.Errorf("%d rows before the end, want that of Exec alone", n)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want(t, "rows", w.things(), 1, 2)
	want(t, "events", w.events(), "x.v1.thing.made", "x.v1.audit.recorded")
	if c.End(nil) != nil {
		t.Error("the record would be written twice")
	}
}

func TestLastGoesBehindTheRecordAndIsSentAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, _ := call(t.Context())
	err := w.db.InTx(ctx, func(tx *unit.Tx) error {
		if err := tx.Later(ctx, insert, 1); err != nil {
			return err
		}
		var changed int64
		err := tx.Last(ctx, func(b *pgx.Batch) {
			b.Queue(`UPDATE thing SET n = 7 WHERE n = 1 AND EXISTS (SELECT FROM outbox)`).
				Exec(func(tag pgconn.CommandTag) error { changed = tag.RowsAffected(); return nil })
		})
		if err == nil && changed != 1 {
			t.Error("the last statement did not see what waited, or not the record")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	want(t, "rows", w.things(), 7)
	want(t, "events", w.events(), "x.v1.audit.recorded")
}

func TestOneRoundTripForAllThatWaits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	counted := &counter{}
	cfg := w.pool.Config()
	cfg.ConnConfig.Tracer = counted
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	if err := pool.Ping(t.Context()); err != nil { // makes the connection
		t.Fatal(err)
	}
	*counted = counter{}
	w.db.Pool = pool
	ctx, _ := call(t.Context())
	err = w.db.InTx(ctx, func(tx *unit.Tx) error {
		for n := range 5 {
			if err := errors.Join(tx.Later(ctx, insert, n), tx.Emit(ctx, "x.v1.thing.made", "1", &auditpb.Record{})); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if counted.batches != 1 || counted.statements != 2 {
		t.Errorf("%d batches and %d statements, want one batch, begin and commit", counted.batches, counted.statements)
	}
}

// counter counts round trips.
type counter struct{ batches, statements int }

func (c *counter) TraceQueryStart(ctx context.Context, _ *pgx.Conn, d pgx.TraceQueryStartData) context.Context {
	if !strings.HasPrefix(d.SQL, "-- ping") {
		c.statements++
	}
	return ctx
}
func (c *counter) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (c *counter) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	c.batches++
	return ctx
}
func (c *counter) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}
func (c *counter) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData)     {}

func TestPokesAfterTheCommitAndOnlyIfSomethingWasLeft(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	emit := func(tx *unit.Tx) error { return tx.Emit(ctx, "x.v1.thing.made", "1", &auditpb.Record{}) }
	enqueue := func(tx *unit.Tx) error {
		_, err := tx.Enqueue(ctx, jobs.New{Kind: "make", Key: "thing/1"})
		return err
	}
	for _, tt := range []struct {
		name        string
		do          func(*unit.Tx) error
		relay, jobs int
	}{
		{"nothing left", func(tx *unit.Tx) error { return tx.Later(ctx, insert, 1) }, 0, 0},
		{"an event", emit, 1, 0},
		{"a job", enqueue, 0, 1},
		{"a cancel", func(tx *unit.Tx) error { return tx.Cancel(ctx, "thing/1") }, 0, 1},
		{"both", func(tx *unit.Tx) error { return errors.Join(emit(tx), enqueue(tx)) }, 1, 1},
		{"rolled back", func(tx *unit.Tx) error { return errors.Join(emit(tx), enqueue(tx), errStop) }, 0, 0},
		{"fails with what waits", func(tx *unit.Tx) error { return errors.Join(emit(tx), tx.Later(ctx, `SELECT 1/0`)) }, 0, 0},
	} {
		w.relay, w.pokes = 0, 0
		err := w.db.InTx(ctx, func(tx *unit.Tx) error {
			err := tt.do(tx)
			if w.relay+w.pokes > 0 {
				t.Errorf("%s: poked before the commit", tt.name)
			}
			return err
		})
		if (err != nil) != (tt.name == "rolled back" || tt.name == "fails with what waits") {
			t.Errorf("%s: %v", tt.name, err)
		}
		if w.relay != tt.relay || w.pokes != tt.jobs {
			t.Errorf("%s: %d and %d pokes, want %d and %d", tt.name, w.relay, w.pokes, tt.relay, tt.jobs)
		}
	}
}

var errStop = errors.New("stop")

func TestAnotherRunStartsFromNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, c := call(t.Context())
	runs, afters := 0, 0
	err := w.db.InTx(ctx, func(tx *unit.Tx) error {
		runs++
		tx.AfterCommit(func() { afters++ })
		if err := tx.Later(ctx, insert, runs); err != nil {
			return err
		}
		if runs > 1 {
			return nil
		}
		if err := tx.Emit(ctx, "x.v1.thing.made", "1", &auditpb.Record{}); err != nil {
			return err
		}
		if err := tx.Last(ctx, nil); err != nil {
			return err
		}
		return &pgconn.PgError{Code: "40001"}
	})
	if err != nil || runs != 2 {
		t.Fatalf("%d runs, %v", runs, err)
	}
	want(t, "rows", w.things(), 2)
	want(t, "events", w.events(), "x.v1.audit.recorded")
	if afters != 1 {
		t.Errorf("%d calls after the commit, want that of the run that committed", afters)
	}
	if w.relay != 1 || c.End(nil) != nil {
		t.Errorf("%d pokes; record left: %v", w.relay, c.End(nil))
	}
}

// TestOneUnitOfACallWritesItsRecord checks that a call that refreshes a copy and then makes two changes has one record.
func TestOneUnitOfACallWritesItsRecord(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, c := call(t.Context())
	add := func(n int) func(*unit.Tx) error {
		return func(tx *unit.Tx) error { return tx.Later(ctx, insert, n) }
	}
	if err := w.db.Aside(ctx, add(1)); err != nil {
		t.Fatal(err)
	}
	want(t, "records of a refreshed copy", w.events())
	if c.End(nil) == nil {
		t.Error("the record counts as written before anything was changed")
	}
	if err := w.db.InTx(ctx, func(tx *unit.Tx) error { return errors.Join(add(2)(tx), errStop) }); !errors.Is(err, errStop) {
		t.Fatal(err)
	}
	for _, n := range []int{3, 4} {
		if err := w.db.InTx(ctx, add(n)); err != nil {
			t.Fatal(err)
		}
		want(t, "records", w.events(), "x.v1.audit.recorded")
	}
	want(t, "rows", w.things(), 1, 3, 4)
}

func TestRecordOfARefusedCall(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, c := call(t.Context())
	if err := w.db.Record(ctx, c.End(errStop)); err != nil {
		t.Fatal(err)
	}
	want(t, "events", w.events(), "x.v1.audit.recorded")
	if w.relay != 1 {
		t.Error("the relay was not poked")
	}
}

func TestInATransactionOpenedElsewhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, c := call(t.Context())
	err := pg.InTx(ctx, w.pool, func(tx pgx.Tx) error {
		u := unit.In(tx)
		if err := errors.Join(u.Later(ctx, insert, 1), u.Emit(ctx, "x.v1.thing.made", "1", &auditpb.Record{})); err != nil {
			return err
		}
		return u.Last(ctx, func(b *pgx.Batch) { b.Queue(insert, 2) })
	})
	if err != nil {
		t.Fatal(err)
	}
	want(t, "rows", w.things(), 1, 2)
	want(t, "events", w.events(), "x.v1.thing.made")
	if c.End(nil) == nil {
		t.Error("a transaction opened elsewhere wrote the record of the call")
	}
}
