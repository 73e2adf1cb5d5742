package ip_test

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/testing/protocmp"

	ippb "slipway.dev/proto/ip/v3"

	"slipway.dev/pkg/bus"
	"slipway.dev/pkg/fault"
)

// rounds returns how often to try: the first number in make unit, the second in make chaos.
func rounds(short, long int) int {
	if os.Getenv("SLIPWAY_CHAOS") != "" {
		return long
	}
	return short
}

// TestClaims: clients, all at once, ask for twice as many addresses as there are, in make chaos 100 clients 100 times each for
// the 1,022 host addresses of a /22; once all transactions commit, and once a fifth of those that take something is rolled
// back.
func TestClaims(t *testing.T) {
	t.Parallel()
	clients, each, last := rounds(25, 100), rounds(20, 100), rounds(4, 7)
	free := (last-3)<<8 - 2
	for name, spoil := range map[string]string{"": "", "with rollbacks": `
		CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
			IF random() < 0.2 THEN
				RAISE EXCEPTION 'spoilt' USING ERRCODE = 'serialization_failure';
			END IF;
			RETURN NEW;
		END $$;
		CREATE TRIGGER spoil AFTER UPDATE ON address FOR EACH ROW WHEN (new.state = 'reserved') EXECUTE FUNCTION spoil()`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := start(t)
			w.network(t, "10.0.0.0/16")
			pool := w.newPool(t, "p", fmt.Sprintf("10.0.4.1-10.0.%d.254", last))
			if spoil != "" {
				w.exec(t, spoil)
			}
			w.claims(t, clients, each, free)
			if used, _ := w.fill(t, pool); used != fmt.Sprintf("%d/%d", free, free) {
				t.Errorf("fill %s", used)
			}
		})
	}
}

// claims demands that exactly free of all claims succeed, with an address each, and that the others get a clean fault.
func (w *world) claims(t *testing.T, clients, each, free int) {
	t.Helper()
	var mu sync.Mutex
	var got, none atomic.Int32
	seen := map[string]string{}
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for range each {
				owner := newOwner()
				r, err := w.reserveAgain(t.Context(), owner)
				if err != nil {
					if f, _ := fault.From(err); f.Reason != "NO_FREE_ADDRESS" {
						t.Errorf("%v", err)
						return
					}
					none.Add(1)
					continue
				}
				got.Add(1)
				mu.Lock()
				ip := r.GetAddresses()[0].GetIpAddr()
				if other, twice := seen[ip]; twice {
					t.Errorf("%s was given to %s and to %s", ip, other, owner)
				}
				seen[ip] = owner
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if int(got.Load()) != free || int(none.Load()) != clients*each-free {
		t.Errorf("%d got an address, %d got none, %d were free", got.Load(), none.Load(), free)
	}
}

// reserveAgain reserves one address, and asks again when the service had to give up: several conflicts in a row.
func (w *world) reserveAgain(ctx context.Context, owner string) (*ippb.ReserveResponse, error) {
	for {
		r, err := w.addresses.Reserve(ctx, &ippb.ReserveRequest{Owner: owner, ClusterId: 1, Ipv4Count: 1})
		if f, ok := fault.From(err); !ok || f.Code != codes.Unavailable {
			return r, err
		}
	}
}

// TestCycles: 800 times taken, confirmed and given back, 10,000 times in make chaos, nothing is lost and nothing is left.
func TestCycles(t *testing.T) {
	t.Parallel()
	cycles := rounds(800, 10_000)
	w := start(t)
	w.noQuarantine(t)
	w.network(t, "10.0.0.0/16")
	pool := w.newPool(t, "p", "10.0.0.16/28")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range cycles / 8 {
				owner := newOwner()
				_, err := w.addresses.Reserve(t.Context(), &ippb.ReserveRequest{Owner: owner, ClusterId: 1, Ipv4Count: 1})
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := w.addresses.Confirm(t.Context(), &ippb.ConfirmRequest{Owner: owner}); err != nil {
					t.Error(err)
				}
				if r, err := w.addresses.Release(t.Context(), &ippb.ReleaseRequest{Owner: owner}); err != nil || r.GetReleased() != 1 {
					t.Error(r, err)
				}
			}
		})
	}
	wg.Wait()
	if used, _ := w.fill(t, pool); used != "0/16" {
		t.Errorf("fill %s", used)
	}
	var histories, open, rows int
	err := w.pool.QueryRow(t.Context(), `
		SELECT count(*), count(*) FILTER (WHERE released_at IS NULL), (SELECT count(*) FROM address) FROM address_history`).
		Scan(&histories, &open, &rows)
	if err != nil || histories != cycles || open != 0 || rows != 16 {
		t.Errorf("%d times held, %d of them not ended, %d addresses, %v", histories, open, rows, err)
	}
}

// noQuarantine makes released addresses free at once.
func (w *world) noQuarantine(t testing.TB) {
	t.Helper()
	_, err := w.settings.UpdateSetting(w.admin(t), &ippb.UpdateSettingRequest{Name: "quarantine_seconds", Value: "0"})
	if err != nil {
		t.Fatal(err)
	}
}

// TestClaims6 is the same for addresses that have no row.
func TestClaims6(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.network(t, "2001:db8::/121")
	w.network(t, "2001:db8:1::/121")
	a, b := w.newPool(t, "a", "2001:db8::/121"), w.newPool(t, "b", "2001:db8:1::/121")
	const free = 2 * (128 - 2)
	var mu sync.Mutex
	seen := map[string]bool{}
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			pools := []int32{a, b}
			if i%2 == 1 { // the other way round, which is how locks get crossed
				pools = []int32{b, a}
			}
			for range 7 {
				r, err := w.addresses.Reserve(t.Context(), &ippb.ReserveRequest{Owner: newOwner(), ClusterId: 1, Ipv6Count: 2, PoolIds: pools})
				if f, ok := fault.From(err); ok && f.Reason == "NO_FREE_ADDRESS" {
					continue
				} else if err != nil {
					t.Error(err)
				}
				mu.Lock()
				for _, ip := range texts(r) {
					if seen[ip] {
						t.Errorf("%s was given twice", ip)
					}
					seen[ip] = true
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(seen) != free {
		t.Errorf("%d addresses were given, %d were free", len(seen), free)
	}
}

// TestLastAddress: a claim gets the last free address if the unit of work that had locked it rolls back.
func TestLastAddress(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.network(t, "192.0.2.0/24")
	w.newPool(t, "p", "192.0.2.4-192.0.2.5")
	for name, end := range map[string]string{"rolled back": "ROLLBACK", "committed": "COMMIT"} {
		w.exec(t, `UPDATE address SET state = 'free', owner = NULL, position = NULL, until = NULL`)
		w.reserve4(t, 1)
		c, err := w.pool.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var pid int
		for _, sql := range []string{`BEGIN`, `UPDATE address SET state = 'assigned', owner = gen_random_uuid(), position = 0 WHERE state = 'free'`} {
			if _, err := c.Exec(t.Context(), sql); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.QueryRow(t.Context(), `SELECT pg_backend_pid()`).Scan(&pid); err != nil {
			t.Fatal(err)
		}
		answer := make(chan error, 1)
		go func() {
			_, err := w.addresses.Reserve(t.Context(), &ippb.ReserveRequest{Owner: newOwner(), ClusterId: 1, Ipv4Count: 1})
			answer <- err
		}()
		w.waitForWaiter(t, pid)
		if _, err := c.Exec(t.Context(), end); err != nil {
			t.Fatal(err)
		}
		c.Release()
		err = <-answer
		if name == "committed" {
			wantFault(t, name, err, "NO_FREE_ADDRESS", "")
		} else if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// waitForWaiter returns when another backend waits for a lock that the backend holds.
func (w *world) waitForWaiter(t *testing.T, pid int) {
	t.Helper()
	for range 1000 {
		var waits bool
		err := w.pool.QueryRow(t.Context(), `
			SELECT EXISTS (SELECT FROM pg_stat_activity WHERE $1 = ANY(pg_blocking_pids(pid)))`, pid).Scan(&waits)
		if err != nil {
			t.Fatal(err)
		}
		if waits {
			return
		}
		time.Sleep(5 * time.Millisecond) // between two looks
	}
	t.Fatal("nobody waits: the claim gave up on a row that was locked")
}

func TestSameOwnerInParallel(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.network(t, "192.0.2.0/24")
	w.network(t, "2001:db8::/64")
	pool := w.newPool(t, "p", "192.0.2.0/24", "2001:db8::/64")
	owner := newOwner()
	answers := make([]*ippb.ReserveResponse, 20)
	var wg sync.WaitGroup
	for i := range answers {
		wg.Go(func() {
			r, err := w.addresses.Reserve(t.Context(), &ippb.ReserveRequest{Owner: owner, ClusterId: 1, Ipv4Count: 3, Ipv6Count: 1})
			if err != nil {
				t.Error(err)
			}
			answers[i] = r
		})
	}
	wg.Wait()
	for _, r := range answers {
		if d := cmp.Diff(answers[0], r, protocmp.Transform()); d != "" || len(r.GetAddresses()) != 4 {
			t.Error(d)
		}
	}
	if a, b := w.fill(t, pool); a != "3/253" || b != fmt.Sprintf("1/%d", 1<<31-3) {
		t.Errorf("fill %s %s", a, b)
	}
}

// TestDeleteWhileClaiming: a range is removed, or an address of it given, never both.
func TestDeleteWhileClaiming(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.network(t, "192.0.2.0/24")
	w.network(t, "2001:db8::/64")
	pool := w.newPool(t, "p")
	for i := range 20 {
		ids := []int32{w.addRange(t, pool, "192.0.2.4-192.0.2.5"), w.addRange(t, pool, "2001:db8::4-2001:db8::5")}
		owner := newOwner()
		var deleted atomic.Int32
		var wg sync.WaitGroup
		var reserveErr error
		wg.Go(func() {
			_, reserveErr = w.addresses.Reserve(t.Context(), &ippb.ReserveRequest{Owner: owner, ClusterId: 1, Ipv4Count: 1, Ipv6Count: 1})
		})
		for _, id := range ids {
			wg.Go(func() {
				if _, err := w.pools.DeleteRange(w.admin(t), &ippb.DeleteRangeRequest{Id: id}); err == nil {
					deleted.Add(1)
				} else {
					wantFault(t, "delete", err, "IN_USE", "")
				}
			})
		}
		wg.Wait()
		if reserveErr == nil && deleted.Load() > 0 {
			t.Fatalf("round %d: both", i)
		}
		if reserveErr != nil {
			wantFault(t, "reserve", reserveErr, "NO_FREE_ADDRESS", "")
		}
		w.exec(t, `DELETE FROM address`)
		w.exec(t, `DELETE FROM pool_range`)
	}
}

// TestRun: the service frees addresses that are due without a request, and emits the events.
func TestRun(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.network(t, "192.0.2.0/24")
	w.network(t, "2001:db8::/64")
	w.newPool(t, "p", "192.0.2.4-192.0.2.6", "2001:db8::/64")
	reserve := func() string {
		owner := newOwner()
		_, err := w.addresses.Reserve(t.Context(), &ippb.ReserveRequest{Owner: owner, ClusterId: 1, Ipv4Count: 1, Ipv6Count: 1})
		if err != nil {
			t.Fatal(err)
		}
		return owner
	}
	assigned, lapsing, released := reserve(), reserve(), reserve()
	if _, err := w.addresses.Confirm(t.Context(), &ippb.ConfirmRequest{Owner: assigned}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.addresses.Release(t.Context(), &ippb.ReleaseRequest{Owner: released}); err != nil {
		t.Fatal(err)
	}
	w.exec(t, `UPDATE address SET until = now() WHERE until IS NOT NULL`)

	events := make(chan bus.Event, 20)
	ready := make(chan struct{})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 2)
	go func() {
		done <- w.bus.Watch(ctx, []string{"ip.v3.address.*", "ip.v3.pool.*"}, func(e bus.Event) { events <- e }, func() { close(ready) })
	}()
	<-ready
	go func() { done <- w.Run(ctx) }()
	told := map[string]int{}
	for range 7 {
		e := <-events
		var a ippb.AddressAssigned
		var r ippb.AddressReleased
		switch e.Subject {
		case "ip.v3.address.assigned":
			if err := e.Decode(&a); err != nil {
				t.Error(err)
			}
			told["assigned to "+a.GetOwner()]++
		case "ip.v3.address.released":
			if err := e.Decode(&r); err != nil || r.GetIpAddr() != e.Key {
				t.Error(&r, err)
			}
			told["released by "+r.GetOwner()]++
		default:
			told[e.Subject]++
		}
	}
	want := map[string]int{"ip.v3.pool.bound": 1, "assigned to " + assigned: 2, "released by " + lapsing: 2, "released by " + released: 2}
	if d := cmp.Diff(want, told); d != "" {
		t.Error(d)
	}
	stop()
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	l, err := w.list.ListAddresses(w.admin(t), &ippb.ListAddressesRequest{Query: where("state", "free")})
	if err != nil || l.GetSize() != 2 {
		t.Errorf("what is due is not free: %v %v", l, err)
	}
}
