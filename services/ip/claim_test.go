package ip_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/grpc/metadata"

	ippb "slipway.dev/proto/ip/v3"

	"slipway.dev/pkg/rpc"
)

// TestRepeatedCreates: a create that is repeated with its key gets the first answer, and makes nothing more.
func TestRepeatedCreates(t *testing.T) {
	t.Parallel()
	w := start(t)
	var pool int32
	for _, create := range []func(context.Context) (int32, error){
		func(ctx context.Context) (int32, error) {
			r, err := w.networks.CreateNetwork(ctx, &ippb.CreateNetworkRequest{Name: "192.0.2.0/24"})
			return r.GetId(), err
		},
		func(ctx context.Context) (int32, error) {
			r, err := w.pools.CreatePool(ctx, &ippb.CreatePoolRequest{Name: "p"})
			pool = r.GetId()
			return pool, err
		},
		func(ctx context.Context) (int32, error) {
			r, err := w.pools.AddRange(ctx, &ippb.AddRangeRequest{Id: pool, Name: "192.0.2.4"})
			return r.GetId(), err
		},
	} {
		ctx := metadata.AppendToOutgoingContext(w.admin(t), rpc.IdemKey, newOwner())
		first, err := create(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := create(ctx); err != nil || again != first {
			t.Errorf("%d, and again %d, %v", first, again, err)
		}
	}
	if l, err := w.pools.ListPools(w.admin(t), &ippb.ListPoolsRequest{}); err != nil || l.GetSize() != 1 {
		t.Error(l, err)
	}
}

// locked runs a statement in a transaction that stays open, and returns how to end it and its backend.
func (w *world) locked(t *testing.T, sql string) (end func(string), pid int) {
	t.Helper()
	c, err := w.pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	run := func(c *pgxpool.Conn, sql string) {
		if _, err := c.Exec(t.Context(), sql); err != nil {
			t.Error(err)
		}
	}
	run(c, `BEGIN`)
	run(c, sql)
	if err := c.QueryRow(t.Context(), `SELECT pg_backend_pid()`).Scan(&pid); err != nil {
		t.Fatal(err)
	}
	return func(sql string) {
		run(c, sql)
		c.Release()
	}, pid
}

// TestRefusedAtOnce: a claim for which no address can become free waits for no other unit of work, whatever other pools have.
func TestRefusedAtOnce(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.network(t, "192.0.2.0/24")
	full := w.newPool(t, "full", "192.0.2.4")
	other, err := w.pools.CreatePool(w.admin(t), &ippb.CreatePoolRequest{Name: "other"})
	if err != nil {
		t.Fatal(err)
	}
	w.addRange(t, other.GetId(), "192.0.2.8/29")
	w.reserve4(t, 1)
	end, _ := w.locked(t, `SELECT FROM pool FOR NO KEY UPDATE`)
	defer end(`ROLLBACK`)
	ctx, stop := context.WithTimeout(t.Context(), time.Minute) // for a claim that waits
	defer stop()
	for _, pools := range [][]int32{nil, {full}} {
		_, err := w.addresses.Reserve(ctx, &ippb.ReserveRequest{Owner: newOwner(), ClusterId: 1, Ipv4Count: 1, PoolIds: pools})
		wantFault(t, "a full pool", err, "NO_FREE_ADDRESS", "")
	}
}

// TestConflictsEnd: a claim that meets another one of its owner each time gives up after three times.
func TestConflictsEnd(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.network(t, "192.0.2.0/24")
	w.newPool(t, "p", "192.0.2.8/29")
	w.exec(t, `CREATE SEQUENCE tries;
		CREATE FUNCTION conflict() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
			PERFORM nextval('tries');
			RAISE EXCEPTION 'conflict' USING ERRCODE = 'unique_violation', CONSTRAINT = 'address_position';
		END $$;
		CREATE TRIGGER conflict AFTER UPDATE ON address FOR EACH ROW EXECUTE FUNCTION conflict()`)
	ctx, stop := context.WithTimeout(t.Context(), time.Minute) // for a claim that goes on
	defer stop()
	_, err := w.addresses.Reserve(ctx, &ippb.ReserveRequest{Owner: newOwner(), ClusterId: 1, Wish: "192.0.2.9"})
	var tries int
	if err := w.pool.QueryRow(t.Context(), `SELECT last_value FROM tries`).Scan(&tries); err != nil {
		t.Fatal(err)
	}
	if err == nil || tries != 3 {
		t.Errorf("%d tries, %v", tries, err)
	}
}

// TestWishUnderWay: a wish waits for the unit of work that takes the address, and says that it is taken, or gets it.
func TestWishUnderWay(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.network(t, "192.0.2.0/24")
	w.newPool(t, "p", "192.0.2.8/29")
	for _, how := range []string{`ROLLBACK`, `COMMIT`} {
		w.exec(t, `UPDATE address SET state = 'free', owner = NULL, claim = NULL, position = NULL, until = NULL`)
		end, pid := w.locked(t, `
			UPDATE address SET state = 'assigned', owner = gen_random_uuid(), position = 0 WHERE ip = '192.0.2.9'`)
		answer := make(chan error, 1)
		go func() {
			_, err := w.addresses.Reserve(t.Context(), &ippb.ReserveRequest{Owner: newOwner(), ClusterId: 1, Wish: "192.0.2.9"})
			answer <- err
		}()
		w.waitForWaiter(t, pid)
		end(how)
		if err := <-answer; how == `COMMIT` {
			wantFault(t, how, err, "WISH_TAKEN", "wish")
		} else if err != nil {
			t.Errorf("%s: %v", how, err)
		}
	}
}

// TestSearchGoesRound: the search for a free IPv6 address goes on behind the one that was given last, then from the first on. A claim
// that gives back what it never used leaves no row.
func TestSearchGoesRound(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.network(t, "2001:db8::/64")
	pool := w.newPool(t, "p", "2001:db8::10-2001:db8::12")
	owners := []string{newOwner(), newOwner(), newOwner(), newOwner(), newOwner(), newOwner()}
	claim := func(i int, want string) {
		t.Helper()
		r, err := w.addresses.Reserve(t.Context(), &ippb.ReserveRequest{Owner: owners[i], ClusterId: 1, Ipv6Count: 1})
		if err != nil || !slices.Equal(texts(r), []string{want}) {
			t.Errorf("%v %v, want %s", r, err, want)
		}
	}
	release := func(i int) {
		t.Helper()
		if r, err := w.addresses.Release(t.Context(), &ippb.ReleaseRequest{Owner: owners[i]}); err != nil || r.GetReleased() != 1 {
			t.Error(r, err)
		}
	}
	claim(0, "2001:db8::10")
	claim(1, "2001:db8::11")
	release(0)
	claim(2, "2001:db8::12")
	claim(3, "2001:db8::10")
	release(3)
	claim(4, "2001:db8::10") // all behind the one that was given last are used
	release(1)
	claim(5, "2001:db8::11")
	for _, i := range []int{2, 4, 5} {
		release(i)
	}
	var rows int
	err := w.pool.QueryRow(t.Context(), `SELECT count(*) FROM address WHERE pool_id = $1`, pool).Scan(&rows)
	if err != nil || rows != 0 {
		t.Errorf("%d rows are left, %v", rows, err)
	}
}

// TestNamedPoolsGiveIPv6: pools that are named for both families give both.
func TestNamedPoolsGiveIPv6(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.network(t, "192.0.2.0/24")
	w.network(t, "2001:db8::/64")
	w.newPool(t, "first", "2001:db8::10-2001:db8::1f")
	named := w.newPool(t, "second", "192.0.2.8", "2001:db8::20-2001:db8::2f")
	r, err := w.addresses.Reserve(t.Context(), &ippb.ReserveRequest{Owner: newOwner(), ClusterId: 1, Ipv4Count: 1, Ipv6Count: 1, PoolIds: []int32{named}})
	if err != nil || !slices.Equal(texts(r), []string{"192.0.2.8", "2001:db8::20"}) {
		t.Error(r, err)
	}
}
