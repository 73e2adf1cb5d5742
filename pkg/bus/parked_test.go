package bus_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"slipway.dev/pkg/bus"
	"slipway.dev/pkg/bus/bustest"
	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/pg"
)

// park parks events of two consumers.
func (s *sink) park(t *testing.T, consumers ...string) {
	t.Helper()
	for i, name := range consumers {
		e := ev(i)
		if _, err := s.pool.Exec(t.Context(), `
			INSERT INTO inbox_parked (consumer, event_id, subject, key, type, data, occurred_at, error, parked_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, 'no', now() - $8 * interval '1 minute')`,
			name, e.ID, e.Subject, e.Key, e.Type, e.Data, e.Time, i); err != nil {
			t.Fatal(err)
		}
	}
}

// replay replays an event in a transaction, as a service does.
func (s *sink) replay(ctx context.Context, consumer, id string, handle bus.Handle) error {
	err := pg.InTx(ctx, s.pool, func(tx pgx.Tx) error { return bus.Replay(ctx, tx, consumer, id, handle) })
	return bus.Refused(ctx, s.pool, consumer, id, err)
}

// list returns the parked events: consumer, number, error.
func (s *sink) list(t *testing.T) string {
	t.Helper()
	all, err := bus.ListParked(t.Context(), s.pool, 100)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, p := range all {
		out = append(out, fmt.Sprint(p.Consumer, " ", p.Event.ID[35:], " ", p.Error))
	}
	return strings.Join(out, ", ")
}

// TestParkedEvents lists, replays and drops parked events, each alone.
func TestParkedEvents(t *testing.T) {
	t.Parallel()
	s := newSink(t)
	s.park(t, "a", "b", "a", "b")
	if got := s.list(t); got != "b 3 no, a 2 no, b 1 no, a 0 no" {
		t.Errorf("the oldest first: %s", got)
	}
	if few, err := bus.ListParked(t.Context(), s.pool, 2); err != nil || len(few) != 2 || few[0].Event.Key != "1" || few[0].At.IsZero() {
		t.Errorf("%+v %v", few, err)
	}
	for _, tt := range []struct{ consumer, id string }{
		{"b", ev(0).ID}, {"a", ev(1).ID}, {"c", ev(0).ID}, {"a", "no UUID"}, {"a", ev(9).ID},
	} {
		if err := bus.Drop(t.Context(), s.pool, tt.consumer, tt.id); !errors.Is(err, fault.NotFound) {
			t.Errorf("drop %v: %v", tt, err)
		}
		if err := s.replay(t.Context(), tt.consumer, tt.id, s.handle); !errors.Is(err, fault.NotFound) {
			t.Errorf("replay %v: %v", tt, err)
		}
	}
	if err := bus.Drop(t.Context(), s.pool, "a", ev(0).ID); err != nil {
		t.Error(err)
	}
	if err := s.replay(t.Context(), "b", ev(1).ID, s.handle); err != nil {
		t.Error(err)
	}
	if got := s.list(t); got != "b 3 no, a 2 no" || fmt.Sprint(s.effects(t)) != "[1]" {
		t.Errorf("%s, effects %v", got, s.effects(t))
	}
	for refusal, want := range map[error]error{
		fault.Conflict.With("taken"): fault.Conflict, errors.New("disk full"): bus.ErrRefused,
	} {
		s.fail = func(int) error { return refusal }
		if err := s.replay(t.Context(), "a", ev(2).ID, s.handle); !errors.Is(err, want) {
			t.Errorf("%v: %v", refusal, err)
		}
		if got := s.list(t); !strings.Contains(got, "a 2 "+refusal.Error()) || !strings.Contains(got, "b 3 no") {
			t.Errorf("after %v: %s", refusal, got)
		}
	}
	s.fail = func(int) error { panic("oh") }
	if err := s.replay(t.Context(), "a", ev(2).ID, s.handle); !errors.Is(err, bus.ErrRefused) || !strings.Contains(s.list(t), "a 2 panic: oh") {
		t.Errorf("a panic: %v, %s", err, s.list(t))
	}
	if got := s.effects(t); fmt.Sprint(got) != "[1]" {
		t.Errorf("refused events have effects: %v", got)
	}
}

// TestParkedEventsWithoutDatabase checks that errors of the database come out, and are no missing events.
func TestParkedEventsWithoutDatabase(t *testing.T) {
	t.Parallel()
	s := newSink(t)
	s.park(t, "a")
	away, cancel := context.WithCancel(t.Context())
	cancel()
	_, listErr := bus.ListParked(away, s.pool, 1)
	for name, err := range map[string]error{
		"list": listErr, "drop": bus.Drop(away, s.pool, "a", ev(0).ID), "replay": s.replay(away, "a", ev(0).ID, s.handle),
		"an effect that breaks the transaction": s.replay(t.Context(), "a", ev(0).ID, func(ctx context.Context, tx pgx.Tx, _ bus.Event) error {
			_, err := tx.Exec(ctx, `SELECT 1/0`)
			return err
		}),
	} {
		if err == nil || errors.Is(err, fault.NotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := s.list(t); !strings.HasPrefix(got, "a 0 ") {
		t.Errorf("left: %s", got)
	}
}

// TestReplayThatIsNotToBlame: a replay that the database ends, and not the event, says so, and leaves the event and its reason as they
// are.
func TestReplayThatIsNotToBlame(t *testing.T) {
	t.Parallel()
	s := newSink(t)
	s.park(t, "a")
	// The first replay of its connection: the statement is refused before it runs.
	err := pg.InTx(t.Context(), s.pool, func(tx pgx.Tx) error {
		_, _ = tx.Exec(t.Context(), `SELECT 1/0`)
		return bus.Replay(t.Context(), tx, "a", ev(0).ID, s.handle)
	})
	if pg.Code(err) != "25P02" { // the transaction is aborted
		t.Errorf("in a transaction that failed: %v", err)
	}
	for _, e := range []error{fault.Unavailable, pg.ErrUnknownCommit, context.DeadlineExceeded} {
		s.fail = func(int) error { return e }
		if err := s.replay(t.Context(), "a", ev(0).ID, s.handle); !errors.Is(err, e) || errors.Is(err, bus.ErrRefused) {
			t.Errorf("%v: %v", e, err)
		}
	}
	s.fail = nil
	err = s.replay(t.Context(), "a", ev(0).ID, func(ctx context.Context, tx pgx.Tx, _ bus.Event) error {
		_, err := tx.Exec(ctx, `CREATE RULE stays AS ON DELETE TO inbox_parked DO INSTEAD SELECT 1/(length(old.error)-2)`)
		return err
	})
	if pg.Code(err) != "22012" {
		t.Errorf("it stays in the list: %v", err)
	}
	if got := s.list(t); got != "a 0 no" || len(s.effects(t)) > 0 {
		t.Errorf("left: %s, effects %v", got, s.effects(t))
	}
}

// TestEventsOfSeveralStreams publishes events of two services by turns in one call: each stream gets its own, in order.
func TestEventsOfSeveralStreams(t *testing.T) {
	t.Parallel()
	b, s := bustest.New(t), newSink(t)
	var events []bus.Event
	for i := range 12 {
		e := ev(i)
		if i%3 == 1 {
			e.Subject = "ip.v3.pool.created"
		}
		events = append(events, e)
	}
	if n, err := b.Publish(t.Context(), events...); err != nil || n != len(events) {
		t.Fatalf("published %d: %v", n, err)
	}
	s.start(t, b)
	s.await(t, []int{0, 2, 3, 5, 6, 8, 9, 11})
}
