package bus_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"slipway.dev/pkg/bus"
	"slipway.dev/pkg/bus/bustest"
	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/lead"
	"slipway.dev/pkg/outbox"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/pg/pgtest"
)

// ended runs the duty of a consumer until it ends by itself, and returns why it did.
func ended(t *testing.T, pool *pgxpool.Pool, b *bus.Bus, handle bus.Handle) (why error) {
	t.Helper()
	duty := b.Duty(bus.Consumer{Name: "sink", Service: "vm"}, handle)
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	run := func(ctx context.Context, l *lead.Leader) error {
		defer stop()
		why = duty.Run(ctx, l)
		return nil
	}
	if err := lead.Run(ctx, pool, slog.New(slog.DiscardHandler), lead.Duty{Name: duty.Name, Run: run}); err != nil {
		t.Fatal(err)
	}
	return why
}

// TestConsumerSaysWhyItEnds: a consumer that cannot go on returns the reason, which the log then has.
func TestConsumerSaysWhyItEnds(t *testing.T) {
	t.Parallel()
	none := func(context.Context, pgx.Tx, bus.Event) error { return nil }
	for name, tt := range map[string]struct {
		sql    string
		handle bus.Handle
		is     func(error) bool
	}{
		"no position":          {`DROP TABLE inbox_position`, none, func(err error) bool { return pg.Code(err) == "42P01" }},
		"no removal":           {`ALTER TABLE inbox RENAME seen_at TO seen`, none, func(err error) bool { return pg.Code(err) == "42703" }},
		"no place to park":     {`DROP TABLE inbox_parked`, refuse(fault.Invalid), func(err error) bool { return pg.Code(err) == "42P01" }},
		"the database is full": {``, refuse(fault.Unavailable), func(err error) bool { return errors.Is(err, fault.Unavailable) }},
	} {
		t.Run(name, func(t *testing.T) {
			pool, b := pgtest.New(t, outbox.Migrations), bustest.New(t)
			bustest.Publish(t, b, ev(0))
			if _, err := pool.Exec(t.Context(), tt.sql); err != nil {
				t.Fatal(err)
			}
			if err := ended(t, pool, b, tt.handle); !tt.is(err) {
				t.Errorf("it ended with %v", err)
			}
		})
	}
	t.Run("no bus", func(t *testing.T) {
		pool, b := pgtest.New(t, outbox.Migrations), bustest.New(t)
		b.Close()
		if err := ended(t, pool, b, none); err == nil {
			t.Error("it ended without a reason")
		}
	})
}

func refuse(err error) bus.Handle {
	return func(context.Context, pgx.Tx, bus.Event) error { return err }
}

// connect returns a bus on a server that has no gap at its first connection, of which it would hear at an unknown moment.
func connect(t *testing.T, srv nats.InProcessConnProvider, opts ...bus.Option) *bus.Bus {
	t.Helper()
	opts = append(opts, bus.WithNATS(nats.InProcessServer(srv), nats.ConnectHandler(nil)))
	b, err := bus.Connect(t.Context(), "", opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// tap returns what is sent over a server on some subjects, in order, and a func that waits until all that was sent is there.
func tap(t *testing.T, srv nats.InProcessConnProvider, subjects ...string) (msgs chan *nats.Msg, flush func()) {
	t.Helper()
	nc, err := nats.Connect("", nats.InProcessServer(srv))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	msgs = make(chan *nats.Msg, 10000)
	for _, s := range subjects {
		if _, err := nc.ChanSubscribe(s, msgs); err != nil {
			t.Fatal(err)
		}
	}
	flush = func() {
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	flush()
	return msgs, flush
}

// next returns what a channel has next.
func next[T any](t *testing.T, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(time.Minute):
		t.Fatal("nothing comes")
	}
	return v
}

const looks = "$JS.API.STREAM.INFO.vm"

// TestIdleReaderLooksSeldom: the less there is to read the longer a reader waits until it looks again.
func TestIdleReaderLooksSeldom(t *testing.T) {
	t.Parallel()
	pauses := bus.Pauses()
	for n, pause := range pauses[1:] {
		if pause != min(2*pauses[n], 2*time.Second) || pause == 0 {
			t.Errorf("pauses: %s", pauses)
		}
	}
	srv, s := bustest.NewServer(t), newSink(t)
	b := srv.Connect(t)
	publish(t, b, 0, 1)
	asked, _ := tap(t, srv, looks)
	s.start(t, b)
	var at []time.Time
	for n := range 300 {
		next(t, asked)
		if at = append(at, time.Now()); n >= 3 && at[n].Sub(at[n-3]) > 200*time.Millisecond {
			return
		}
	}
	t.Errorf("%d looks within %s", len(at), time.Since(at[0]))
}

// TestReports: a consumer reports how far it has read, as often as WithReports says.
func TestReports(t *testing.T) {
	t.Parallel()
	srv, s := bustest.NewServer(t), newSink(t)
	b := connect(t, srv, bus.WithReports(0), bus.WithPatience(5*time.Second))
	publish(t, b, 0, 3)
	state, err := b.Look(t.Context(), "vm")
	if err != nil {
		t.Fatal(err)
	}
	reports := make(chan bus.Reader, 1000)
	if err := b.Readers("vm", func(r bus.Reader) { reports <- r }); err != nil {
		t.Fatal(err)
	}
	said, _ := tap(t, srv, looks, bus.ReaderSubject("vm", ">"))
	s.start(t, b)
	looked, reported := 0, 0
	for reported < 3 {
		if next(t, said).Subject == looks {
			looked++
		} else {
			reported++
		}
	}
	if looked > 6 { // one before each, and again when the server was late
		t.Errorf("%d looks, %d reports", looked, reported)
	}
	for range reported {
		if r := next(t, reports); r.Name != "sink" || !r.Created.Equal(state.Created) || r.Seq != 3 {
			t.Errorf("%+v of %+v", r, state)
		}
	}
}

// TestPositionWithoutEvents: a reader that passes only messages of no interest stores its position when it has moved far, and not
// before.
func TestPositionWithoutEvents(t *testing.T) {
	t.Parallel()
	srv, pool := bustest.NewServer(t), pgtest.New(t, outbox.Migrations)
	config := wanted
	config.FirstSeq = 1023
	if _, err := srv.JetStream(t).CreateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	b := connect(t, srv, bus.WithReports(0))
	at := make(chan uint64, 10000)
	if err := b.Readers("vm", func(r bus.Reader) { at <- r.Seq }); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- b.Consume(ctx, pool, bus.Consumer{Name: "other", Service: "vm", Subjects: []string{"vm.v3.disk.*"}},
			refuse(fault.Invalid))
	}()
	for n, want := range []string{"", "1024"} {
		publish(t, b, n, n+1)
		for next(t, at) != uint64(1023+n) {
			continue
		}
		var stored string
		err := pool.QueryRow(t.Context(), `SELECT coalesce(max(seq)::text, '') FROM inbox_position`).Scan(&stored)
		if err != nil || stored != want {
			t.Errorf("after %d the position %q is stored, want %q: %v", 1023+n, stored, want, err)
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestSlowWatcherHasAGap: a watcher that is too slow misses events, and hears that it did.
func TestSlowWatcherHasAGap(t *testing.T) {
	t.Parallel()
	srv := bustest.NewServer(t)
	b := connect(t, srv)
	missed, end := b.Gaps()
	defer end()
	gaps, held, done := make(chan struct{}, 9), make(chan struct{}), make(chan error, 1)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go func() {
		done <- b.Watch(ctx, []string{"vm.>"}, func(bus.Event) { <-held }, func() { gaps <- struct{}{} })
	}()
	next(t, gaps) // from now on it watches
	nc, err := nats.Connect("", nats.InProcessServer(srv))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	for range 6000 { // more than may wait
		if err := nc.Publish("vm.v3.host.created", nil); err != nil {
			t.Fatal(err)
		}
	}
	next(t, missed)
	close(held)
	next(t, gaps)
	stop()
	if err := next(t, done); err != nil {
		t.Error(err)
	}
}

// TestTroubleIsNoGap: an error on the connection that loses no message is no gap.
func TestTroubleIsNoGap(t *testing.T) {
	t.Parallel()
	b := connect(t, bustest.NewServer(t))
	gaps, end := b.Gaps()
	defer end()
	bus.Trouble(b, nats.ErrPermissionViolation)
	if len(gaps) != 0 {
		t.Error("a gap")
	}
	bus.Trouble(b, fmt.Errorf("vm: %w", nats.ErrSlowConsumer))
	if len(gaps) != 1 {
		t.Error("no gap")
	}
}

// TestNewer: of two events of one object the one with the higher revision counts, in whichever order they come.
func TestNewer(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, outbox.Migrations)
	var got []string
	err := pg.InTx(t.Context(), pool, func(tx pgx.Tx) error {
		for _, e := range []bus.Event{
			{Subject: "vm.v3.host.created", Key: "1", Revision: 5},
			{Subject: "vm.v3.host.renamed", Key: "1", Revision: 4},
			{Subject: "vm.v3.host.renamed", Key: "1", Revision: 5},
			{Subject: "vm.v3.host.renamed", Key: "1", Revision: 6},
			{Subject: "vm.v3.host.renamed", Key: "2", Revision: 1},
			{Subject: "vm.v3.disk.renamed", Key: "1", Revision: 1},
			{Subject: "vm.v3.host.deleted", Key: "1"},
			{Subject: "vm.v3.host.renamed", Key: "1", Revision: 5},
		} {
			newer, err := bus.Newer(t.Context(), tx, e)
			if err != nil {
				return err
			}
			got = append(got, fmt.Sprint(newer))
		}
		return nil
	})
	if want := "true false false true true true true false"; err != nil || strings.Join(got, " ") != want {
		t.Errorf("%s, want %s: %v", got, want, err)
	}
	away, stop := context.WithCancel(t.Context())
	defer stop()
	if err := pg.InTx(away, pool, func(tx pgx.Tx) error {
		stop()
		newer, err := bus.Newer(away, tx, bus.Event{Subject: "vm.v3.host.created", Key: "9", Revision: 1})
		if err == nil || newer {
			t.Errorf("without a database: %v %v", newer, err)
		}
		return err
	}); err == nil {
		t.Error("committed")
	}
}

// TestPassesWhatIsGone: a reader passes more messages that are gone than it asks for at once, and reads what comes after them.
func TestPassesWhatIsGone(t *testing.T) {
	t.Parallel()
	srv, s := bustest.NewServer(t), newSink(t)
	b := srv.Connect(t)
	publish(t, b, 0, 2)
	for n := 2; n < 70; n++ {
		e := ev(n)
		e.Subject = "vm.v3.disk.created"
		bustest.Publish(t, b, e)
	}
	publish(t, b, 70, 71)
	stream, err := srv.JetStream(t).Stream(t.Context(), "vm")
	if err == nil {
		err = stream.Purge(t.Context(), jetstream.WithPurgeSubject("vm.v3.disk.created"))
	}
	if err != nil {
		t.Fatal(err)
	}
	s.start(t, b)
	s.await(t, []int{0, 1, 70})
}
