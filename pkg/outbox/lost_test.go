package outbox_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"slipway.dev/pkg/bus"
	"slipway.dev/pkg/bus/bustest"
	"slipway.dev/pkg/faulty"
	"slipway.dev/pkg/outbox"
	"slipway.dev/pkg/pg/pgtest"
)

// harm is what may become of a stream with the events 0 to 19; saved is how it was when it had 0 to 9.
type harm func(t *testing.T, srv *bustest.Server, b *bus.Bus, saved string)

var harms = map[string]harm{
	"nothing": func(*testing.T, *bustest.Server, *bus.Bus, string) {},
	"lost its end": func(t *testing.T, srv *bustest.Server, _ *bus.Bus, saved string) {
		srv.Stop()
		srv.Restore(t, saved)
		srv.Start(t)
	},
	"lost its end and went on": func(t *testing.T, srv *bustest.Server, b *bus.Bus, saved string) {
		srv.Stop()
		srv.Restore(t, saved)
		srv.Start(t)
		foreign(t, b, 1000, 1015) // beyond the place where the readers are
	},
	"lost its end and went on as far": func(t *testing.T, srv *bustest.Server, b *bus.Bus, saved string) {
		srv.Stop()
		srv.Restore(t, saved)
		srv.Start(t)
		foreign(t, b, 1000, 1010)
	},
	"purged": func(t *testing.T, srv *bustest.Server, _ *bus.Bus, _ string) {
		s, err := srv.JetStream(t).Stream(t.Context(), "vm")
		if err == nil {
			err = s.Purge(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
	},
	"lost single events": func(t *testing.T, srv *bustest.Server, _ *bus.Bus, _ string) {
		s, err := srv.JetStream(t).Stream(t.Context(), "vm")
		for _, seq := range []uint64{12, 15, 20} {
			if err == nil {
				err = s.DeleteMsg(t.Context(), seq)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	},
	"made anew": func(t *testing.T, srv *bustest.Server, _ *bus.Bus, _ string) {
		srv.Stop()
		srv.Wipe(t)
		srv.Start(t)
	},
	"deleted": func(t *testing.T, srv *bustest.Server, _ *bus.Bus, _ string) {
		if err := srv.JetStream(t).DeleteStream(t.Context(), "vm"); err != nil {
			t.Fatal(err)
		}
	},
	"made anew and went on": func(t *testing.T, srv *bustest.Server, b *bus.Bus, _ string) {
		srv.Stop()
		srv.Wipe(t)
		srv.Start(t)
		foreign(t, b, 1000, 1030)
	},
}

// foreign publishes events that no outbox knows, as a process whose database was lost with them.
func foreign(t *testing.T, b *bus.Bus, from, to int) {
	t.Helper()
	var events []bus.Event
	for i := from; i < to; i++ {
		data, err := proto.Marshal(wrapperspb.Int32(int32(i)))
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, bus.Event{
			ID: uuid.NewString(), Subject: "vm.v3.host.created", Key: "7", Type: "google.protobuf.Int32Value", Time: time.Now(), Data: data,
		})
	}
	for deadline := time.Now().Add(time.Minute); len(events) > 0; {
		n, err := b.Publish(t.Context(), events...)
		if events = events[n:]; err != nil && time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

const sorted = `SELECT n FROM effect ORDER BY n`

// TestNoEventIsLost harms a stream while nobody looks. Each event takes effect once, whether the reader had it before or not, and
// whether the relay or the reader looks first.
func TestNoEventIsLost(t *testing.T) {
	t.Parallel()
	for name, do := range harms {
		for _, had := range []int{5, 20} {
			for _, relayFirst := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s, the reader had %d, relay first %v", name, had, relayFirst), func(t *testing.T) {
					t.Parallel()
					noEventIsLost(t, do, had, relayFirst)
				})
			}
		}
	}
}

func noEventIsLost(t *testing.T, do harm, had int, relayFirst bool) {
	pool, srv := pgtest.New(t, outbox.Migrations), bustest.NewServer(t)
	b := srv.Connect(t)
	send := func(from, to int) {
		t.Helper()
		emit(t, pool, from, to)
		_, stop := relay(t, pool, b)
		await(t, pool, unsent, []int{0})
		stop()
	}
	read := func(to int) {
		t.Helper()
		stop := reader(t, pool, b)
		await(t, pool, sorted, upTo(to))
		stop()
	}
	send(0, 5)
	if had == 5 {
		read(5)
	}
	send(5, 10)
	srv.Stop()
	saved := srv.Save(t)
	srv.Start(t)
	send(10, 20)
	if had == 20 {
		read(20)
	}
	do(t, srv, b, saved)
	if relayFirst {
		send(20, 35)
		reader(t, pool, b)
	} else {
		reader(t, pool, b)
		await(t, pool, `SELECT count(*)::int FROM inbox_position WHERE consumer = 'reader'`, []int{1})
		send(20, 35)
	}
	relay(t, pool, b)
	awaitOwn(t, pool, 35)
}

// awaitOwn waits until the events from 0 to before n have each taken effect once, and those of others at most once.
func awaitOwn(t *testing.T, pool *pgxpool.Pool, n int) {
	t.Helper()
	await(t, pool, `SELECT n FROM effect WHERE n < 1000 ORDER BY n`, upTo(n))
	others := numbers(t, pool, `SELECT n FROM effect WHERE n >= 1000 ORDER BY n`)
	if len(slices.Compact(slices.Clone(others))) != len(others) {
		t.Errorf("twice: %v", others)
	}
}

// TestLostUnderTheirEyes harms a stream while relay and reader work and nothing else happens: both look by themselves.
func TestLostUnderTheirEyes(t *testing.T) {
	t.Parallel()
	for name, do := range harms {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool, srv := pgtest.New(t, outbox.Migrations), bustest.NewServer(t)
			b := srv.Connect(t)
			stopRelay := relays(t, pool, b)
			emit(t, pool, 0, 10)
			await(t, pool, unsent, []int{0})
			stopRelay()
			srv.Stop()
			saved := srv.Save(t)
			srv.Start(t)
			relays(t, pool, b)
			stopReader := reader(t, pool, b)
			emit(t, pool, 10, 20)
			await(t, pool, sorted, upTo(20))
			await(t, pool, unsent, []int{0})
			do(t, srv, b, saved)
			stopReader()
			reader(t, pool, b)
			// What the stream is harmed of is there again.
			for _, id := range ids(t, pool) {
				awaitInStream(t, srv, id)
			}
			emit(t, pool, 20, 30)
			awaitOwn(t, pool, 30)
		})
	}
}

func relays(t *testing.T, pool *pgxpool.Pool, b *bus.Bus) func() {
	t.Helper()
	_, stop := relay(t, pool, b)
	return stop
}

func ids(t *testing.T, pool *pgxpool.Pool) []string {
	t.Helper()
	rows, err := pool.Query(t.Context(), `SELECT event_id::text FROM outbox ORDER BY id`)
	if err != nil {
		t.Fatal(err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(list) == 0 {
		t.Fatal(list, err)
	}
	return list
}

// awaitInStream waits until the stream holds an event.
func awaitInStream(t *testing.T, srv *bustest.Server, id string) {
	t.Helper()
	js := srv.JetStream(t)
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) { // between two looks
		if has(t, js, id) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("event %s is not in the stream", id)
		}
	}
}

func has(t *testing.T, js jetstream.JetStream, id string) bool {
	t.Helper()
	s, err := js.Stream(t.Context(), "vm")
	if err != nil {
		return false // its relay makes it
	}
	state := s.CachedInfo().State
	for seq := state.FirstSeq; seq <= state.LastSeq; seq++ {
		m, err := s.GetMsg(t.Context(), seq)
		if err == nil && (m.Header.Get(jetstream.MsgIDHeader) == id || m.Header.Get("Slipway-Event") == id) {
			return true
		}
	}
	return false
}

// TestHalfABatch publishes a batch of which JetStream takes the first half: the rest is not sent, and follows when it can.
func TestHalfABatch(t *testing.T) {
	t.Parallel()
	pool, b := pgtest.New(t, outbox.Migrations), bustest.New(t)
	reader(t, pool, b)
	emit(t, pool, 0, 5)
	_, err := pool.Exec(t.Context(), `
		INSERT INTO outbox (event_id, subject, key, type, data)
		VALUES (gen_random_uuid(), 'vm.v3.host.created', '7', 'none', convert_to(repeat('x', 2 << 20), 'UTF8'))`) // too large for NATS
	if err != nil {
		t.Fatal(err)
	}
	emit(t, pool, 5, 10)
	relay(t, pool, b)
	await(t, pool, sorted, upTo(5))
	await(t, pool, `SELECT id::int FROM outbox WHERE sent_at IS NULL ORDER BY id`, []int{6, 7, 8, 9, 10, 11})
	if _, err := pool.Exec(t.Context(), `DELETE FROM outbox WHERE id = 6`); err != nil {
		t.Fatal(err)
	}
	await(t, pool, sorted, upTo(10))
	await(t, pool, unsent, []int{0})
}

// TestUnansweredIsNotSent loses the answers of JetStream to some events. They stay unsent until they are answered.
func TestUnansweredIsNotSent(t *testing.T) {
	t.Parallel()
	pool, srv := pgtest.New(t, outbox.Migrations), bustest.NewServer(t)
	plan := faulty.New(5, 0.1)
	plan.Lossy = true
	b, err := bus.Connect(t.Context(), "", bus.WithNATS(nats.InProcessServer(plan.InProcess(srv))))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	relay(t, pool, b)
	emit(t, pool, 0, 1)
	await(t, pool, unsent, []int{0}) // there is a stream
	plan.On()
	js := srv.JetStream(t)
	for n := 1; n < 60; n++ {
		emit(t, pool, n, n+1)
		sent := numbers(t, pool, `SELECT count(*)::int FROM outbox WHERE sent_at IS NOT NULL`)[0]
		s, err := js.Stream(t.Context(), "vm")
		if err != nil {
			t.Fatal(err)
		}
		if have := s.CachedInfo().State.Msgs; have < uint64(sent) {
			t.Fatalf("%d events are marked as sent, %d are in the stream", sent, have)
		}
	}
	plan.Off()
	reader(t, pool, srv.Connect(t))
	await(t, pool, sorted, upTo(60))
}
