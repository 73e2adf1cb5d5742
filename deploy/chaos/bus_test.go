//go:build e2e

package chaos_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/outbox"
	"slipway.dev/pkg/pg"
)

// TestBusLost: events are emitted while NATS runs, while it is away, and after it returns without its data. Each
// takes effect exactly once.
func TestBusLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	// The effect of an account's event is its row at vm; a trigger counts how often it is made.
	w.exec("vm", `CREATE TABLE effect (id integer)`)
	w.exec("vm", `CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO effect VALUES (NEW.id); RETURN NULL; END'`)
	w.exec("vm", `CREATE TRIGGER note AFTER INSERT OR UPDATE ON account FOR EACH ROW EXECUTE FUNCTION note()`)
	n, made := scale(3000, 100_000), 0
	emit := func(count int) {
		t.Helper()
		for ; count > 0; count -= min(count, 500) {
			err := pg.InTx(t.Context(), w.pools["auth"], func(tx pgx.Tx) error {
				for i := range min(count, 500) {
					id := int32(1000 + made + i)
					if err := outbox.Emit(t.Context(), tx, "auth.v4.user.updated", "user", &authpb.UserChanged{Id: id, Email: "e", State: "active"}); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			made += min(count, 500)
		}
	}
	taken := func() int { return w.count("vm", `SELECT count(*) FROM effect WHERE id >= 1000`) }
	await := func(want int) {
		t.Helper()
		for deadline := time.Now().Add(5 * time.Minute); taken() < want; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%d of %d events took effect", taken(), want)
			}
		}
	}
	emit(n / 3)
	await(n / 6)
	w.nats.Stop()
	emit(n / 3)
	w.nats.Start(t)
	await(n / 3)
	w.nats.Stop()
	w.nats.Wipe(t)
	emit(n - made)
	w.nats.Start(t)
	await(n)
	w.rest(healing)
	if twice := w.count("vm", `SELECT count(*) FROM (SELECT FROM effect WHERE id >= 1000 GROUP BY id HAVING count(*) > 1) x`); twice > 0 || taken() != n {
		t.Errorf("%d events, %d effects, %d of them more than one of an event", n, taken(), twice)
	}
	if unsent := w.count("auth", `SELECT count(*) FROM outbox WHERE sent_at IS NULL`); unsent > 0 {
		t.Errorf("%d events were never sent", unsent)
	}
}

// everyone waits for a group, or for the end of ctx.
func everyone(ctx context.Context, wg *sync.WaitGroup) bool {
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	select {
	case <-done:
		return true
	case <-ctx.Done():
		return false
	}
}
