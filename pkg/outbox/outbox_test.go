package outbox_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats-server/v2/server"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"slipway.dev/pkg/bus"
	"slipway.dev/pkg/bus/bustest"
	"slipway.dev/pkg/crash"
	"slipway.dev/pkg/outbox"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/pg/pgtest"
)

// Environment variables that make the test binary run the relay that is killed.
const (
	childURL    = "OUTBOX_TEST_URL"
	childSchema = "OUTBOX_TEST_SCHEMA"
	childNATS   = "OUTBOX_TEST_NATS"
)

func TestMain(m *testing.M) {
	if schema := os.Getenv(childSchema); schema != "" {
		child(os.Getenv(childURL), schema, os.Getenv(childNATS))
		return
	}
	pgtest.Main(m)
}

func child(url, schema, nats string) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	pool, err := pg.Open(ctx, url, schema)
	if err != nil {
		panic(err)
	}
	b, err := bus.Connect(ctx, nats)
	if err != nil {
		panic(err)
	}
	_ = outbox.NewRelay(pool, b, quiet).Run(ctx)
}

var quiet = slog.New(slog.DiscardHandler)

func emit(t testing.TB, pool *pgxpool.Pool, from, to int) {
	t.Helper()
	err := pg.InTx(t.Context(), pool, func(tx pgx.Tx) error {
		for i := from; i < to; i++ {
			if err := outbox.Emit(t.Context(), tx, "vm.v3.host.created", "7", wrapperspb.Int32(int32(i))); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func relay(t testing.TB, pool *pgxpool.Pool, b *bus.Bus) (*outbox.Relay, func()) {
	t.Helper()
	r := outbox.NewRelay(pool, b, quiet, outbox.WithLooks(200*time.Millisecond))
	return r, background(t, r.Run)
}

func background(t testing.TB, run func(context.Context) error) func() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := run(ctx); err != nil {
			t.Error(err)
		}
	}()
	stop := func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

// reader consumes into a table of the same schema.
func reader(t testing.TB, pool *pgxpool.Pool, b *bus.Bus) func() {
	t.Helper()
	if _, err := pool.Exec(t.Context(), `CREATE TABLE IF NOT EXISTS effect (id serial, n int)`); err != nil {
		t.Fatal(err)
	}
	return background(t, func(ctx context.Context) error {
		return b.Consume(ctx, pool, bus.Consumer{Name: "reader", Service: "vm"}, func(ctx context.Context, tx pgx.Tx, e bus.Event) error {
			var m wrapperspb.Int32Value
			if err := e.Decode(&m); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, `INSERT INTO effect (n) VALUES ($1)`, m.Value)
			return err
		})
	})
}

func numbers(t testing.TB, pool *pgxpool.Pool, sql string) []int {
	t.Helper()
	rows, err := pool.Query(t.Context(), sql)
	if err != nil {
		t.Fatal(err)
	}
	ns, err := pgx.CollectRows(rows, pgx.RowTo[int])
	if err != nil {
		t.Fatal(err)
	}
	return ns
}

func await(t testing.TB, pool *pgxpool.Pool, sql string, want []int) {
	t.Helper()
	limit := time.After(2 * time.Minute)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		got := numbers(t, pool, sql)
		if slices.Equal(got, want) {
			return
		}
		select {
		case <-limit:
			t.Fatalf("%s: %v, want %v", sql, got, want)
		case <-tick.C:
		}
	}
}

const (
	effects = `SELECT n FROM effect ORDER BY id`
	unsent  = `SELECT count(*)::int FROM outbox WHERE sent_at IS NULL`
)

func upTo(n int) (all []int) {
	for i := range n {
		all = append(all, i)
	}
	return all
}

func TestEventsArrive(t *testing.T) {
	t.Parallel()
	pool, b := pgtest.New(t, outbox.Migrations), bustest.New(t)
	reader(t, pool, b)
	r, _ := relay(t, pool, b)
	emit(t, pool, 0, 300) // more than a batch
	r.Poke()
	await(t, pool, effects, upTo(300))
	await(t, pool, unsent, []int{0})
	err := pg.InTx(t.Context(), pool, func(tx pgx.Tx) error {
		if err := outbox.Emit(t.Context(), tx, "vm.v3.host.created", "7", wrapperspb.Int32(300)); err != nil {
			return err
		}
		return pgx.ErrTxClosed // anything: it rolls back
	})
	if err == nil {
		t.Fatal("committed")
	}
	emit(t, pool, 301, 302)
	r.Poke()
	await(t, pool, effects, append(upTo(300), 301))
}

// Ids are given in another order than transactions commit.
func TestLateCommitIsNotPassedOver(t *testing.T) {
	t.Parallel()
	pool, b := pgtest.New(t, outbox.Migrations), bustest.New(t)
	reader(t, pool, b)
	r, _ := relay(t, pool, b)
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := outbox.Emit(t.Context(), tx, "vm.v3.host.created", "late", wrapperspb.Int32(0)); err != nil {
		t.Fatal(err)
	}
	emit(t, pool, 1, 2)
	r.Poke()
	await(t, pool, effects, []int{1})
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.Poke()
	await(t, pool, effects, []int{1, 0})
}

// The relay is killed after JetStream has the events and before the outbox marks them: they are published twice and take effect
// once.
func TestKilledBetweenPublishAndMark(t *testing.T) {
	t.Parallel()
	url, schema := pgtest.Schema(t)
	pool := pgtest.Open(t, url, schema)
	if err := pg.Migrate(t.Context(), pool, outbox.Migrations); err != nil {
		t.Fatal(err)
	}
	emit(t, pool, 0, 20)
	nats := tcpServer(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childURL+"="+url, childSchema+"="+schema, childNATS+"="+nats, crash.Env+"=outbox.published")
	out, err := cmd.CombinedOutput()
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); err == nil || !ok || ws.Signal() != syscall.SIGKILL {
		t.Fatalf("child was not killed: %v %s", err, out)
	}
	if got := numbers(t, pool, unsent); got[0] != 20 {
		t.Fatalf("%d events unsent: the child got too far", got[0])
	}
	b, err := bus.Connect(t.Context(), nats)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	reader(t, pool, b)
	await(t, pool, effects, upTo(20)) // it did publish
	relay(t, pool, b)
	emit(t, pool, 20, 21)
	await(t, pool, unsent, []int{0})
	await(t, pool, effects, upTo(21))
}

func tcpServer(t *testing.T) string {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("nats is not ready")
	}
	return s.ClientURL()
}

// NATS comes back with an empty disk. No event is lost or applied twice.
func TestWipedBusConverges(t *testing.T) {
	t.Parallel()
	pool, srv := pgtest.New(t, outbox.Migrations), bustest.NewServer(t)
	b := srv.Connect(t)
	stopReader := reader(t, pool, b)
	r, _ := relay(t, pool, b)
	emit(t, pool, 0, 10)
	r.Poke()
	await(t, pool, effects, upTo(10))
	stopReader()
	emit(t, pool, 10, 20)
	r.Poke()
	await(t, pool, unsent, []int{0}) // only NATS has the events

	srv.Stop()
	srv.Wipe(t)
	srv.Start(t)
	reader(t, pool, b)
	await(t, pool, effects, upTo(20)) // the relay saw for itself that the stream is another one

	n, err := outbox.Republish(t.Context(), pool, time.Now().Add(-time.Hour))
	if err != nil || n != 20 {
		t.Errorf("republished %d %v", n, err)
	}
	emit(t, pool, 20, 21)
	r.Poke()
	await(t, pool, effects, upTo(21))
	await(t, pool, unsent, []int{0})
}

// Of two relays one works; when its connection dies the other goes on.
func TestSecondRelayTakesOver(t *testing.T) {
	t.Parallel()
	pool, b := pgtest.New(t, outbox.Migrations), bustest.New(t)
	reader(t, pool, b)
	_, stop := relay(t, pool, b)
	emit(t, pool, 0, 1)
	await(t, pool, effects, upTo(1))
	relay(t, pool, b)
	stop()
	emit(t, pool, 1, 2)
	await(t, pool, effects, upTo(2))
}

func TestBusIsAway(t *testing.T) {
	t.Parallel()
	pool, srv := pgtest.New(t, outbox.Migrations), bustest.NewServer(t)
	srv.Stop()
	b := srv.Connect(t)
	reader(t, pool, b)
	r, _ := relay(t, pool, b)
	emit(t, pool, 0, 5)
	r.Poke()
	srv.Start(t)
	await(t, pool, effects, upTo(5))
}

// TestGapIsLookedAt: after every loss of the connection the relay looks at the streams at once, because they may have changed.
func TestGapIsLookedAt(t *testing.T) {
	t.Parallel()
	pool, srv := pgtest.New(t, outbox.Migrations), bustest.NewServer(t)
	background(t, outbox.NewRelay(pool, srv.Connect(t), quiet, outbox.WithLooks(time.Hour)).Run)
	emit(t, pool, 0, 3)
	await(t, pool, unsent, []int{0})
	srv.Stop()
	srv.Wipe(t)
	srv.Start(t)
	for _, id := range ids(t, pool) {
		awaitInStream(t, srv, id)
	}
}

func TestOldEventsAreDeleted(t *testing.T) {
	t.Parallel()
	pool, b := pgtest.New(t, outbox.Migrations), bustest.New(t)
	emit(t, pool, 0, 3)
	_, err := pool.Exec(t.Context(), `
		UPDATE outbox SET sent_at = now() - CASE id WHEN 1 THEN interval '16 days' WHEN 2 THEN interval '14 days' END`)
	if err != nil {
		t.Fatal(err)
	}
	relay(t, pool, b)
	await(t, pool, `SELECT id::int FROM outbox ORDER BY id`, []int{2, 3})
}

func TestEmitRefuses(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, outbox.Migrations)
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(t.Context()) }()
	for _, subject := range []string{"", "vm", "vm.", "vm..x", "vm.*", "vm.>", "vm.a b", ".vm.x"} {
		if err := outbox.Emit(t.Context(), tx, subject, "k", wrapperspb.Int32(1)); err == nil {
			t.Errorf("subject %q accepted", subject)
		}
	}
	if err := outbox.Emit(t.Context(), tx, "vm.v3.x.y", "k", wrapperspb.String(strings.Repeat("x", 600<<10))); err == nil {
		t.Error("an event that NATS will always refuse was accepted")
	}
}

// Revisions of one key rise, also when the clock went back; those of other keys do not matter.
func TestRevisionsRise(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, outbox.Migrations)
	emit(t, pool, 0, 3)
	if _, err := pool.Exec(t.Context(), `UPDATE outbox SET revision = revision + 3600000000 WHERE id = 3`); err != nil { // in an hour
		t.Fatal(err)
	}
	emit(t, pool, 3, 5)
	if got := numbers(t, pool, `SELECT id::int FROM outbox ORDER BY revision`); !slices.Equal(got, []int{1, 2, 3, 4, 5}) {
		t.Error(got)
	}
	if got := numbers(t, pool, `SELECT count(DISTINCT revision)::int FROM outbox WHERE revision > 0`); got[0] != 5 {
		t.Errorf("%d revisions of 5 events", got[0])
	}
}

func TestIDsAreUUIDsThatRise(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, outbox.Migrations)
	for i := range 3 {
		emit(t, pool, i, i+1)
		<-time.After(2 * time.Millisecond) // the next millisecond
	}
	if got := numbers(t, pool, `SELECT id::int FROM outbox WHERE substr(event_id::text, 15, 1) = '7' ORDER BY event_id`); !slices.Equal(got, []int{1, 2, 3}) {
		t.Error(got)
	}
}

func BenchmarkRelay(b *testing.B) {
	for _, size := range []int{1, 500} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			pool, nats := pgtest.New(b, outbox.Migrations), bustest.New(b)
			r, stop := relay(b, pool, nats)
			defer stop()
			n := 0
			for b.Loop() {
				emit(b, pool, 0, size)
				r.Poke()
				await(b, pool, unsent, []int{0})
				n += size
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
