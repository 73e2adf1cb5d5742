package service_test

import (
	"context"
	"crypto/ed25519"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	authpb "slipway.dev/proto/auth/v4"
	fsckpb "slipway.dev/proto/fsck/v1"
	outboxpb "slipway.dev/proto/outbox/v1"
	parkedpb "slipway.dev/proto/parked/v1"

	"slipway.dev/pkg/bus"
	"slipway.dev/pkg/bus/bustest"
	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/outbox"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/pg/pgtest"
	"slipway.dev/pkg/service"
	"slipway.dev/pkg/unit"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// toy is a service that keeps the ids of deleted users.
type toy struct {
	*testing.T
	svc    *service.Service
	pool   *pgxpool.Pool
	own    grpc.ClientConnInterface // taken while the service was built
	refuse atomic.Bool              // events
}

func newToy(t *testing.T, b *bus.Bus) *toy {
	t.Helper()
	url, schema := pgtest.Schema(t)
	w := &toy{T: t, pool: pgtest.Open(t, url, schema)}
	var err error
	w.svc, err = service.New(t.Context(), service.Spec{
		Name: "toy",
		Tables: pg.Line{Name: "toy", FS: fstest.MapFS{"migrations/0001_gone.sql": &fstest.MapFile{
			Data: []byte("-- +goose Up\nCREATE TABLE gone (id integer PRIMARY KEY);\nCREATE TABLE state (n serial, id integer);"),
		}}},
		Build: func(_ context.Context, k *service.Kit) (service.Parts, error) {
			w.own = k.Server.Local("vm")
			return service.Parts{
				Keys: func(context.Context) (map[string]ed25519.PublicKey, error) { return nil, nil },
				Consumers: []service.Consumer{
					{Name: "toy-auth", From: "auth", On: map[string]bus.Handle{
						"auth.v4.user.deleted": service.On(w.take), "auth.v4.thing.changed": service.Newest(w.keep),
					}},
					{Name: "toy-other", From: "other", On: map[string]bus.Handle{"other.v1.user.deleted": service.On(w.take)}},
				},
			}, nil
		},
	}, service.Deps{Pool: w.pool, Bus: b, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.svc.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *toy) take(ctx context.Context, tx *unit.Tx, e *authpb.UserDeleted) error {
	if w.refuse.Load() {
		return fault.Invalid.With("not now")
	}
	return tx.Later(ctx, `INSERT INTO gone (id) VALUES ($1)`, e.GetId())
}

// keep keeps each state that an event says.
func (w *toy) keep(ctx context.Context, tx *unit.Tx, e *authpb.UserDeleted) error {
	if w.refuse.Load() {
		return fault.Invalid.With("not now")
	}
	return tx.Later(ctx, `INSERT INTO state (id) VALUES ($1)`, e.GetId())
}

// wait waits until sql returns true.
func (w *toy) wait(what, sql string) {
	w.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(2 * time.Minute); ; {
		var ok bool
		if err := w.pool.QueryRow(w.Context(), sql).Scan(&ok); err != nil {
			w.Fatal(err)
		}
		if ok {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			w.Fatalf("%s: not within two minutes", what)
		}
	}
}

func publish(t *testing.T, b *bus.Bus, subject string, id int32) {
	t.Helper()
	send(t, b, event(t, subject, id))
}

func event(t *testing.T, subject string, id int32) bus.Event {
	t.Helper()
	m := &authpb.UserDeleted{Id: id}
	data, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return bus.Event{ID: uuid.NewString(), Subject: subject, Key: "7", Type: string(m.ProtoReflect().Descriptor().FullName()), Data: data}
}

func send(t *testing.T, b *bus.Bus, events ...bus.Event) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); len(events) > 0; {
		n, err := b.Publish(t.Context(), events...)
		if events = events[n:]; err != nil && time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// TestParkedEvents checks the rpcs, which every service has, that list, replay and drop parked events.
func TestParkedEvents(t *testing.T) {
	t.Parallel()
	b := bustest.New(t)
	w := newToy(t, b)
	w.refuse.Store(true)
	publish(t, b, "auth.v4.user.deleted", 7)
	publish(t, b, "auth.v4.user.deleted", 8)
	w.wait("two parked events", `SELECT count(*) = 2 FROM inbox_parked`)
	ctx, c := t.Context(), parkedpb.NewParkedServiceClient(w.own)
	list, err := c.ListParked(ctx, &parkedpb.ListParkedRequest{})
	if err != nil || len(list.GetList()) != 2 || list.GetList()[0].GetConsumer() != "toy-auth" || list.GetList()[0].GetReason() == "" {
		t.Fatalf("%v, %v", list, err)
	}
	first, second := list.GetList()[0].GetEvent(), list.GetList()[1].GetEvent()
	replay := func(consumer, event string) error {
		_, err := c.ReplayParked(ctx, &parkedpb.ReplayParkedRequest{Consumer: consumer, Event: event})
		return err
	}
	if err := replay("toy-auth", first); status.Code(err) != codes.InvalidArgument {
		t.Errorf("a replay that is refused: %v", err)
	}
	w.refuse.Store(false)
	if err := replay("toy-auth", first); err != nil {
		t.Error(err)
	}
	for _, unknown := range [][2]string{{"toy-auth", first}, {"toy-nothing", second}} {
		if err := replay(unknown[0], unknown[1]); status.Code(err) != codes.NotFound {
			t.Errorf("%v: %v", unknown, err)
		}
	}
	if _, err := c.DropParked(ctx, &parkedpb.DropParkedRequest{Consumer: "toy-auth", Event: second}); err != nil {
		t.Error(err)
	}
	w.wait("the effect of the first alone", `SELECT count(*) = 1 AND (SELECT count(*) = 0 FROM inbox_parked) FROM gone`)
}

// TestRepublish checks the rpc, which every service has, that sends events again.
func TestRepublish(t *testing.T) {
	t.Parallel()
	w := newToy(t, bustest.New(t))
	err := pg.InTx(t.Context(), w.pool, func(tx pgx.Tx) error {
		return outbox.Emit(t.Context(), tx, "toy.v1.thing.made", "7", &authpb.UserDeleted{Id: 7})
	})
	if err != nil {
		t.Fatal(err)
	}
	w.wait("a sent event", `SELECT count(*) = 1 FROM outbox WHERE sent_at IS NOT NULL AND seq = 1`)
	c := outboxpb.NewOutboxServiceClient(w.own)
	for since, want := range map[time.Time]int32{time.Now().Add(time.Hour): 0, time.Now().Add(-time.Hour): 1} {
		resp, err := c.Republish(t.Context(), &outboxpb.RepublishRequest{Since: timestamppb.New(since)})
		if err != nil || resp.GetEvents() != want {
			t.Errorf("since %v: %v, %v", since, resp, err)
		}
	}
	w.wait("the event sent again", `SELECT count(*) = 1 FROM outbox WHERE sent_at IS NOT NULL AND seq = 1`) // JetStream has it still
	if _, err := c.Republish(t.Context(), &outboxpb.RepublishRequest{}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("since no time: %v", err)
	}
}

// TestReplayUndoesNothing: an older state of an object that was parked and is replayed, or sent again, does not undo a newer one.
func TestReplayUndoesNothing(t *testing.T) {
	t.Parallel()
	b := bustest.New(t)
	w := newToy(t, b)
	w.refuse.Store(true)
	state := func(revision int64, id int32) bus.Event {
		e := event(t, "auth.v4.thing.changed", id)
		e.Revision = revision
		return e
	}
	old, last := state(1, 1), state(2, 2)
	send(t, b, old)
	w.wait("a parked event", `SELECT count(*) = 1 FROM inbox_parked`)
	w.refuse.Store(false)
	send(t, b, last)
	w.wait("the newer state", `SELECT coalesce(max(id) = 2, false) FROM state`)
	_, err := parkedpb.NewParkedServiceClient(w.own).ReplayParked(t.Context(), &parkedpb.ReplayParkedRequest{Consumer: "toy-auth", Event: old.ID})
	if err != nil {
		t.Fatal(err)
	}
	again := state(1, 1)
	send(t, b, again, state(3, 3))
	w.wait("the newest state", `SELECT coalesce(max(id) = 3, false) FROM state`)
	w.wait("no older state after a newer one", `SELECT array_agg(id ORDER BY n) = '{2,3}' AND (SELECT count(*) = 0 FROM inbox_parked) FROM state`)
}

// TestOneConnectionForAllDuties checks that the relay and all consumers of a service use one connection, and that a blocked
// consumer does not stop another.
func TestOneConnectionForAllDuties(t *testing.T) {
	t.Parallel()
	b := bustest.New(t)
	w := newToy(t, b)
	w.wait("all locks", `
		SELECT count(*) = 3 AND count(DISTINCT l.pid) = 1 FROM pg_locks l JOIN pg_stat_activity a USING (pid)
		WHERE l.locktype = 'advisory' AND l.granted AND a.application_name = 'slipway/' || current_schema()`)
	tx, err := w.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.Background()) }()
	// Another transaction holds the row that the effect of this event needs.
	if _, err := tx.Exec(t.Context(), `INSERT INTO gone (id) VALUES (1)`); err != nil {
		t.Fatal(err)
	}
	publish(t, b, "auth.v4.user.deleted", 1)
	w.wait("the consumer that waits", `SELECT EXISTS (
		SELECT FROM pg_stat_activity WHERE application_name = 'slipway/' || current_schema() AND wait_event_type = 'Lock')`)
	publish(t, b, "other.v1.user.deleted", 2)
	w.wait("the other consumer", `SELECT EXISTS (SELECT FROM gone WHERE id = 2)`)
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.wait("the one that waited", `SELECT EXISTS (SELECT FROM gone WHERE id = 1)`)
	w.wait("no event parked", `SELECT count(*) = 0 FROM inbox_parked`)
}

// TestStartsWhileTheBusIsAway checks that a service starts and answers without NATS.
func TestStartsWhileTheBusIsAway(t *testing.T) {
	t.Parallel()
	b, err := bus.Connect(t.Context(), "nats://127.0.0.1:1") // no server listens there
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	w := newToy(t, b)
	resp, err := fsckpb.NewCheckServiceClient(w.svc.Server().Local("vm")).Inspect(t.Context(), &fsckpb.InspectRequest{})
	if err != nil || len(resp.GetFindings()) != 0 {
		t.Errorf("%v, %v", resp, err)
	}
}

func TestNeedsKeys(t *testing.T) {
	t.Parallel()
	_, err := service.New(t.Context(), service.Spec{
		Name: "toy", Tables: pg.Line{Name: "toy", FS: fstest.MapFS{"migrations/0001_x.sql": &fstest.MapFile{Data: []byte("-- +goose Up\nSELECT 1;")}}},
		Build: func(context.Context, *service.Kit) (service.Parts, error) { return service.Parts{}, nil },
	}, service.Deps{Pool: pgtest.New(t), Bus: bustest.New(t), Log: slog.New(slog.DiscardHandler)})
	if err == nil {
		t.Error("a service that cannot verify identities starts")
	}
}
