package bus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"slipway.dev/pkg/bus"
	"slipway.dev/pkg/bus/bustest"
	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/faulty"
	"slipway.dev/pkg/outbox"
	"slipway.dev/pkg/pg/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// ev returns the n-th event of a test.
func ev(n int) bus.Event {
	data, _ := proto.Marshal(wrapperspb.Int32(int32(n)))
	return bus.Event{
		ID:      fmt.Sprintf("00000000-0000-7000-8000-%012d", n),
		Subject: "vm.v3.host.created", Key: "1", Type: "google.protobuf.Int32Value",
		Time: time.Unix(1_700_000_000, int64(n)*1000), Data: data,
	}
}

// publish publishes events, and the rest again when a server on a busy machine was late.
func publish(t *testing.T, b *bus.Bus, from, to int) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); from < to; {
		var events []bus.Event
		for i := from; i < to; i++ {
			events = append(events, ev(i))
		}
		n, err := b.Publish(t.Context(), events...)
		if from += n; err != nil && time.Now().After(deadline) {
			t.Fatalf("published %d: %v", n, err)
		}
	}
}

// sink is a consumer that writes the events' numbers to a table, in the given transaction.
type sink struct {
	pool *pgxpool.Pool
	fail func(n int) error
	// refuse runs in the transaction of the effect.
	refuse func(ctx context.Context, tx pgx.Tx, n int) error

	mu    sync.Mutex
	calls []int
}

func newSink(t *testing.T) *sink {
	t.Helper()
	s := &sink{pool: pgtest.New(t, outbox.Migrations)}
	if _, err := s.pool.Exec(t.Context(), `CREATE TABLE effect (id serial, n int)`); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *sink) handle(ctx context.Context, tx pgx.Tx, e bus.Event) error {
	var m wrapperspb.Int32Value
	if err := e.Decode(&m); err != nil {
		return err
	}
	s.mu.Lock()
	s.calls = append(s.calls, int(m.Value))
	s.mu.Unlock()
	if _, err := tx.Exec(ctx, `INSERT INTO effect (n) VALUES ($1)`, m.Value); err != nil {
		return err
	}
	if s.refuse != nil {
		if err := s.refuse(ctx, tx, int(m.Value)); err != nil {
			return err
		}
	}
	if s.fail != nil {
		return s.fail(int(m.Value))
	}
	return nil
}

func (s *sink) start(t *testing.T, b *bus.Bus) func() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := b.Consume(ctx, s.pool, bus.Consumer{Name: "sink", Service: "vm", Subjects: []string{"vm.v3.host.*"}}, s.handle); err != nil {
			t.Error(err)
		}
	}()
	stop := func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

func (s *sink) effects(t *testing.T) []int {
	t.Helper()
	rows, err := s.pool.Query(t.Context(), `SELECT n FROM effect ORDER BY id`)
	if err != nil {
		t.Fatal(err)
	}
	ns, err := pgx.CollectRows(rows, pgx.RowTo[int])
	if err != nil {
		t.Fatal(err)
	}
	return ns
}

// await waits until the table holds exactly these rows.
func (s *sink) await(t *testing.T, want []int) {
	t.Helper()
	eventually(t, func() string {
		if got := s.effects(t); !slices.Equal(got, want) {
			return fmt.Sprintf("effects %v, want %v", got, want)
		}
		return ""
	})
}

func eventually(t *testing.T, check func() string) {
	t.Helper()
	limit := time.After(2 * time.Minute)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		wrong := check()
		if wrong == "" {
			return
		}
		select {
		case <-limit:
			t.Fatal(wrong)
		case <-tick.C:
		}
	}
}

func upTo(n int) (all []int) {
	for i := range n {
		all = append(all, i)
	}
	return all
}

func TestConsumerGetsAllInOrderOnce(t *testing.T) {
	t.Parallel()
	b, s := bustest.New(t), newSink(t)
	s.start(t, b) // before there is a stream
	publish(t, b, 0, 50)
	s.await(t, upTo(50))
	publish(t, b, 0, 50) // again
	publish(t, b, 50, 60)
	s.await(t, upTo(60))
}

// The inbox, not JetStream, makes a second delivery harmless: here the stream is lost and filled again.
func TestSecondDeliveryHasNoEffect(t *testing.T) {
	t.Parallel()
	srv, s := bustest.NewServer(t), newSink(t)
	b := srv.Connect(t)
	s.start(t, b)
	publish(t, b, 0, 5)
	s.await(t, upTo(5))
	srv.Stop()
	srv.Wipe(t)
	srv.Start(t)
	eventually(t, func() string {
		if _, err := b.Publish(t.Context(), ev(0), ev(1), ev(2), ev(3), ev(4), ev(5)); err != nil {
			return err.Error()
		}
		return ""
	})
	s.await(t, upTo(6))
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.calls) != 6 {
		t.Errorf("handled %v", s.calls)
	}
}

// The position commits with the effects: an event is not applied again, even if the inbox no longer has its id.
func TestPositionIsKept(t *testing.T) {
	t.Parallel()
	b, s := bustest.New(t), newSink(t)
	stop := s.start(t, b)
	publish(t, b, 0, 5)
	s.await(t, upTo(5))
	stop()
	if _, err := s.pool.Exec(t.Context(), `DELETE FROM inbox`); err != nil {
		t.Fatal(err)
	}
	publish(t, b, 5, 6)
	s.start(t, b)
	s.await(t, upTo(6))
}

// An event is not to blame for a full disk, and is applied when there is room.
func TestFullDatabaseParksNothing(t *testing.T) {
	t.Parallel()
	b, s := bustest.New(t), newSink(t)
	var full atomic.Int32
	s.refuse = func(ctx context.Context, tx pgx.Tx, n int) error {
		if n != 2 || full.Add(1) > 6 {
			return nil
		}
		_, err := tx.Exec(ctx, `DO $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END $$`)
		return err
	}
	s.start(t, b)
	publish(t, b, 0, 5)
	s.await(t, upTo(5))
	var parked int
	if err := s.pool.QueryRow(t.Context(), `SELECT count(*) FROM inbox_parked`).Scan(&parked); err != nil || parked > 0 || full.Load() < 6 {
		t.Errorf("%d parked after %d failures, %v", parked, full.Load(), err)
	}
}

// A position counts in its stream only: in another one it would skip events. That of an earlier version has no event to compare.
func TestPositionInAnotherStream(t *testing.T) {
	t.Parallel()
	for _, known := range []bool{true, false} {
		t.Run(fmt.Sprint("the event is known ", known), func(t *testing.T) {
			t.Parallel()
			srv, s := bustest.NewServer(t), newSink(t)
			b := srv.Connect(t)
			stop := s.start(t, b)
			publish(t, b, 0, 5)
			s.await(t, upTo(5))
			stop()
			if !known {
				if _, err := s.pool.Exec(t.Context(), `UPDATE inbox_position SET event_id = NULL`); err != nil {
					t.Fatal(err)
				}
			}
			srv.Stop()
			srv.Wipe(t)
			srv.Start(t)
			b = srv.Connect(t)
			publish(t, b, 5, 15)
			s.start(t, b)
			s.await(t, upTo(15))
		})
	}
}

// A stream that came back older and was filled again holds other events where the consumer has read: all of them take effect.
func TestOlderStreamWithNewEvents(t *testing.T) {
	t.Parallel()
	for _, further := range []int{5, 10, 15, 100} { // than where it came back
		t.Run(fmt.Sprint(further), func(t *testing.T) {
			t.Parallel()
			srv, s := bustest.NewServer(t), newSink(t)
			b := srv.Connect(t)
			publish(t, b, 0, 10)
			srv.Stop()
			saved := srv.Save(t)
			srv.Start(t)
			b = srv.Connect(t)
			stop := s.start(t, b)
			publish(t, b, 10, 20)
			s.await(t, upTo(20))
			stop()
			srv.Stop()
			srv.Restore(t, saved)
			srv.Start(t)
			b = srv.Connect(t)
			publish(t, b, 20, 20+further)
			s.start(t, b)
			s.await(t, upTo(20+further))
		})
	}
}

// An answer that gets lost is asked for again, and if it is lost again the batch ends before it: the event is not passed over, and none comes before it.
func TestMissedMessage(t *testing.T) {
	t.Parallel()
	srv, s, plan := bustest.NewServer(t), newSink(t), faulty.New(3, 0.3)
	plan.Lossy = true
	b, err := bus.Connect(t.Context(), "", bus.WithNATS(nats.InProcessServer(plan.InProcess(srv))), bus.WithPatience(20*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	publish(t, srv.Connect(t), 0, 40)
	plan.On()
	s.start(t, b)
	s.await(t, upTo(40))
	if plan.Count(faulty.Lost) == 0 {
		t.Error("nothing was lost")
	}
}

// Several replicas of a consumer share the work without losing the order; when one ends another goes on.
func TestReplicasKeepTheOrder(t *testing.T) {
	t.Parallel()
	b, s := bustest.New(t), newSink(t)
	stop := s.start(t, b)
	s.start(t, b)
	s.start(t, b)
	publish(t, b, 0, 30)
	s.await(t, upTo(30))
	stop()
	publish(t, b, 30, 60)
	s.await(t, upTo(60))
}

func TestPoisonIsParkedAndPassed(t *testing.T) {
	t.Parallel()
	b, s := bustest.New(t), newSink(t)
	tries := map[int]int{}
	s.fail = func(n int) error {
		tries[n]++
		switch {
		case n == 1:
			return fault.Invalid.With("no such thing")
		case n == 2:
			return errors.New("never works")
		case n == 3 && tries[n] < 3:
			return errors.New("works later")
		case n == 4:
			panic("no \x00\xff")
		}
		return nil
	}
	s.start(t, b)
	publish(t, b, 0, 6)
	strange := ev(6)
	strange.Type, strange.Data = "google.protobuf.StringValue", []byte("\xff")
	if _, err := b.Publish(t.Context(), strange); err != nil {
		t.Fatal(err)
	}
	publish(t, b, 7, 8)
	empty := ev(8)
	empty.Type, empty.Data = "", nil
	odd := ev(9)
	odd.Type, odd.Key = "a\x00\xffb", "\xff\x00"
	for _, e := range []bus.Event{empty, odd} {
		if _, err := b.Publish(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	publish(t, b, 10, 11)
	s.await(t, []int{0, 3, 5, 7, 10})
	rows, err := s.pool.Query(t.Context(), `SELECT event_id::text FROM inbox_parked WHERE consumer = 'sink' ORDER BY event_id`)
	if err != nil {
		t.Fatal(err)
	}
	parked, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if want := []string{ev(1).ID, ev(2).ID, ev(4).ID, ev(6).ID, ev(8).ID, ev(9).ID}; err != nil || !slices.Equal(parked, want) {
		t.Errorf("parked %v %v, want %v", parked, err, want)
	}
	// An event that is refused permanently is not tried again; the first of the batch was tried once with the whole batch.
	if tries[1] > 2 || tries[2] < 3 || tries[2] > 4 || tries[3] != 3 {
		t.Errorf("tries %v", tries)
	}
}

// An effect and its row in the inbox commit together: if PostgreSQL drops the connection before the commit, neither stays, and
// the event is delivered again.
func TestLostConnectionRepeatsTheEvent(t *testing.T) {
	t.Parallel()
	b, s := bustest.New(t), newSink(t)
	var once sync.Once
	s.fail = func(n int) error {
		if n == 2 {
			once.Do(func() {
				_, err := s.pool.Exec(context.Background(), `
					SELECT pg_terminate_backend(pid) FROM pg_stat_activity
					WHERE application_name = current_setting('application_name') AND state = 'idle in transaction'`)
				if err != nil {
					t.Error(err)
				}
			})
		}
		return nil
	}
	s.start(t, b)
	publish(t, b, 0, 5)
	s.await(t, upTo(5))
}

func TestWatch(t *testing.T) {
	t.Parallel()
	srv := bustest.NewServer(t)
	b := srv.Connect(t)
	publish(t, b, 0, 1) // before the watch: not seen
	got, gaps := make(chan bus.Event, 10), make(chan struct{}, 10)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- b.Watch(ctx, []string{"vm.v3.>", "ip.>"}, func(e bus.Event) { got <- e }, func() { gaps <- struct{}{} })
	}()
	<-gaps // from now on everything is seen
	publish(t, b, 1, 2)
	if e := <-got; e.ID != ev(1).ID || e.Key != "1" || !e.Time.Equal(ev(1).Time) || e.Type != ev(1).Type {
		t.Errorf("event %+v", e)
	}
	srv.Stop()
	srv.Start(t)
	<-gaps // the cache must be dropped
	publish(t, b, 2, 3)
	if e := <-got; e.ID != ev(2).ID {
		t.Errorf("event %+v", e)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A service starts while NATS is away.
func TestConnectWithoutServer(t *testing.T) {
	t.Parallel()
	srv := bustest.NewServer(t)
	srv.Stop()
	b, s := srv.Connect(t), newSink(t)
	s.start(t, b)
	if _, err := b.Publish(t.Context(), ev(0)); err == nil {
		t.Error("published without a server")
	}
	srv.Start(t)
	eventually(t, func() string {
		if _, err := b.Publish(t.Context(), ev(0)); err != nil {
			return err.Error()
		}
		return ""
	})
	s.await(t, upTo(1))
}

func TestDecode(t *testing.T) {
	t.Parallel()
	if err := ev(1).Decode(&wrapperspb.StringValue{}); !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "StringValue") {
		t.Errorf("wrong type: %v", err)
	}
}

// TestFaultyWire breaks the connection, and delays, repeats and reorders published and delivered messages. Each event must take
// effect once, in the order in which the events were made.
func TestFaultyWire(t *testing.T) {
	t.Parallel()
	s, plan, k := bustest.NewServer(t), faulty.New(11, 0.02), newSink(t)
	b, err := bus.Connect(t.Context(), "", bus.WithPatience(20*time.Millisecond), bus.WithNATS(
		nats.InProcessServer(plan.InProcess(s)), nats.ReconnectWait(5*time.Millisecond), nats.ReconnectJitter(5*time.Millisecond, 0)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	k.start(t, b)
	plan.On()
	const n = 200
	for done := 0; done < n; {
		var events []bus.Event
		for i := done; i < min(done+64, n); i++ {
			events = append(events, ev(i))
		}
		short, stop := context.WithTimeout(t.Context(), time.Second) // an answer that is lost is not waited for
		got, err := b.Publish(short, events...)
		stop()
		if done += got; err != nil {
			time.Sleep(10 * time.Millisecond) // as the outbox does
		}
	}
	plan.Off()
	k.await(t, upTo(n))
	for _, f := range []faulty.Fault{faulty.Before, faulty.After, faulty.Delay, faulty.Twice, faulty.Reorder} {
		if plan.Count(f) < 2 {
			t.Errorf("fault %d is too rare: %d", f, plan.Count(f))
		}
	}
}
