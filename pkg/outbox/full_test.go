package outbox_test

import (
	"context"
	"encoding/binary"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"slipway.dev/pkg/bus"
	"slipway.dev/pkg/bus/bustest"
	"slipway.dev/pkg/outbox"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/pg/pgtest"
)

// large emits events of 100 KiB.
func large(t *testing.T, pool *pgxpool.Pool, from, to int) {
	t.Helper()
	err := pg.InTx(t.Context(), pool, func(tx pgx.Tx) error {
		for i := from; i < to; i++ {
			data := binary.BigEndian.AppendUint32(nil, uint32(i))
			err := outbox.Emit(t.Context(), tx, "vm.v3.host.created", "7", wrapperspb.Bytes(append(data, make([]byte, 100<<10)...)))
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func readsLarge(t *testing.T, pool *pgxpool.Pool, b *bus.Bus, name string) func() {
	t.Helper()
	if _, err := pool.Exec(t.Context(), `CREATE TABLE IF NOT EXISTS effect (id serial, n int)`); err != nil {
		t.Fatal(err)
	}
	return background(t, func(ctx context.Context) error {
		return b.Consume(ctx, pool, bus.Consumer{Name: name, Service: "vm"}, func(ctx context.Context, tx pgx.Tx, e bus.Event) error {
			var m wrapperspb.BytesValue
			if err := e.Decode(&m); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, `INSERT INTO effect (n) VALUES ($1)`, binary.BigEndian.Uint32(m.Value))
			return err
		})
	})
}

// TestFullStreamLosesNothing fills a stream to its bound, several times over, with one reader away: events wait, nothing that a reader
// has not read is removed, and all arrive in order and once.
func TestFullStreamLosesNothing(t *testing.T) {
	t.Parallel()
	srv, owner := bustest.NewServer(t), pgtest.New(t, outbox.Migrations)
	one, two := pgtest.New(t, outbox.Migrations), pgtest.New(t, outbox.Migrations)
	b, err := bus.Connect(t.Context(), "", bus.WithNATS(nats.InProcessServer(srv)), bus.WithMaxBytes(1<<20), bus.WithReports(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	relay(t, owner, b)
	readsLarge(t, one, b, "one-vm")
	stop := readsLarge(t, two, b, "two-vm")
	large(t, owner, 0, 30) // three times the bound
	await(t, one, effects, upTo(30))
	await(t, two, effects, upTo(30))
	await(t, owner, unsent, []int{0})
	stop()
	large(t, owner, 30, 60)
	await(t, owner, `SELECT (count(*) > 0)::int FROM outbox WHERE sent_at IS NOT NULL AND id > 30`, []int{1})
	readsLarge(t, two, b, "two-vm")
	await(t, one, effects, upTo(60))
	await(t, two, effects, upTo(60))
	await(t, owner, unsent, []int{0})
	s, err := b.Look(t.Context(), "vm")
	if err != nil || s.Bytes > 1<<20 || s.First < 40 || s.Last != 60 {
		t.Errorf("%+v, %v", s, err)
	}
}

// TestOldStreamGetsTheBound: a stream of an earlier version, which dropped its oldest events and had no bound, gets one that it is
// beyond. No event is lost, whether the reader had it or not.
func TestOldStreamGetsTheBound(t *testing.T) {
	t.Parallel()
	srv, owner, one := bustest.NewServer(t), pgtest.New(t, outbox.Migrations), pgtest.New(t, outbox.Migrations)
	_, err := srv.JetStream(t).CreateStream(t.Context(), jetstream.StreamConfig{
		Name: "vm", Subjects: []string{"vm.>"}, Discard: jetstream.DiscardOld, MaxAge: bus.StreamAge, Duplicates: 10 * time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	stop := relays(t, owner, srv.Connect(t))
	large(t, owner, 0, 10)
	end := readsLarge(t, one, srv.Connect(t), "one-vm")
	await(t, one, effects, upTo(10))
	end()
	large(t, owner, 10, 30)
	await(t, owner, unsent, []int{0})
	stop()
	b, err := bus.Connect(t.Context(), "", bus.WithNATS(nats.InProcessServer(srv)), bus.WithMaxBytes(1<<20), bus.WithReports(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	relays(t, owner, b)
	readsLarge(t, one, b, "one-vm")
	await(t, one, sorted, upTo(30))
	large(t, owner, 30, 35)
	await(t, one, sorted, upTo(35))
	await(t, owner, unsent, []int{0})
}
