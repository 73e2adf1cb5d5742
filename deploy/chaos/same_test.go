//go:build e2e

package chaos_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	authpb "slipway.dev/proto/auth/v4"
	oppb "slipway.dev/proto/op/v1"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/faulty"
	"slipway.dev/pkg/rpc"
)

// TestSameEnd: the same operations have the same result with and without faults, row for row: hosts, disks,
// addresses, counters, accounts and their copies, tasks and their ends, records of the audit, events. A client
// without an answer repeats the request with the same key until it gets one, so both runs carry out the same
// operations.
func TestSameEnd(t *testing.T) {
	t.Parallel()
	const rate = 0.05
	calm := newWorld(t, rate)
	want, n := calm.play()
	w := newWorldOf(t, rate, calm.seed)
	w.storm()
	got, _ := w.play()
	for _, p := range []struct {
		name   string
		plan   *faulty.Plan
		faults []faulty.Fault
	}{
		{"database", w.db, []faulty.Fault{faulty.Before, faulty.After, faulty.Delay}},
		{"bus", w.wire, []faulty.Fault{faulty.Before, faulty.After, faulty.Delay, faulty.Twice, faulty.Reorder}},
		{"calls", w.calls, []faulty.Fault{faulty.Before, faulty.After, faulty.Delay, faulty.Twice, faulty.Reorder}},
	} {
		var counts []int64
		for _, f := range p.faults {
			counts = append(counts, p.plan.Count(f))
		}
		t.Logf("%s: %d", p.name, counts)
		if slices.Min(counts) < 5 {
			t.Errorf("too few faults of the %s to prove anything: %d", p.name, counts)
		}
	}
	t.Logf("%d operations, %d rows", n, len(want))
	for _, row := range want {
		if !slices.Contains(got, row) {
			t.Errorf("only without faults: %s", row)
		}
	}
	for _, row := range got {
		if !slices.Contains(want, row) {
			t.Errorf("only with faults: %s", row)
		}
	}
}

// play carries out the operations of the world's seed and returns all that is left, and how many operations there were.
func (w *world) play() (rows []string, operations int) {
	w.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for c := range 8 {
		wg.Go(func() {
			p := player{
				world: w, rng: rand.New(rand.NewPCG(w.seed, uint64(c))), name: fmt.Sprintf("c%d", c),
				hosts: vmpb.NewHostServiceClient(w.calls.Calls(w.Conn("vm", "gateway"))),
				users: authpb.NewUserServiceClient(w.calls.Calls(w.Conn("auth", "gateway"))),
			}
			for r := range scale(4, 90) {
				p.account(r)
				p.host(r)
			}
			mu.Lock()
			operations += p.operations
			mu.Unlock()
		})
	}
	wg.Wait()
	w.calm()
	w.rest(time.Minute)
	// Reservations of creates whose commit failed lapse by themselves, as quarantines end: that time is over now.
	w.exec("ip", `UPDATE address SET until = now() - interval '1 second' WHERE until > now()`)
	w.await("addresses that wait", func() bool { return w.count("ip", `SELECT count(*) FROM address WHERE until IS NOT NULL`) == 0 })
	// The last event of auth is also the last that vm takes in.
	email := "last@example.com"
	until(&player{world: w, name: "last"}, "create "+email, func(ctx context.Context) (*authpb.CreateUserResponse, error) {
		return authpb.NewUserServiceClient(w.Conn("auth", "gateway")).CreateUser(ctx, &authpb.CreateUserRequest{Email: email, Password: "chaos-Password-2"})
	}, nil)
	w.await("events", func() bool {
		return w.count("vm", `SELECT count(*) FROM account WHERE email = $1`, email) == 1 && w.count("auth", `SELECT count(*) FROM audit WHERE service <> 'auth'`) ==
			w.count("vm", `SELECT count(*) FROM outbox WHERE subject = 'vm.v3.audit.recorded'`)+w.count("ip", `SELECT count(*) FROM outbox WHERE subject = 'ip.v3.audit.recorded'`)
	})
	return w.state(), operations
}

// player is one client. Its operations follow from its seed alone.
type player struct {
	*world
	rng        *rand.Rand
	name       string
	hosts      vmpb.HostServiceClient // as a client has it: its calls fail, too
	users      authpb.UserServiceClient
	operations int
}

// until repeats one operation with the same key until its result is known. For an operation without keys, so reports
// whether it was carried out.
func until[A any](p *player, what string, do func(context.Context) (A, error), so func(context.Context) (bool, error)) (a A) {
	p.operations++
	key := fmt.Sprintf("%s-%d", p.name, p.operations)
	for deadline := time.Now().Add(2 * time.Minute); ; {
		a, err := do(metadata.AppendToOutgoingContext(p.admin(), rpc.IdemKey, key))
		if err == nil || status.Code(err) == codes.NotFound { // of what is to be removed, and was
			return a
		}
		for so != nil && time.Now().Before(deadline) {
			is, err := so(p.admin())
			if err == nil && is {
				return a
			}
			if err == nil {
				break
			}
			if status.Code(err) == codes.PermissionDenied {
				p.Errorf("asking after %s: %v", what, err)
				return a
			}
		}
		if time.Now().After(deadline) {
			p.Errorf("seed %d: %s: %v", p.seed, what, err)
			return a
		}
		time.Sleep(5 * time.Millisecond) // clients wait before they repeat
	}
}

// account makes an account and changes it a few times, so that events of one account follow each other closely.
func (p *player) account(r int) {
	email := fmt.Sprintf("%s-%d@example.com", p.name, r)
	id := until(p, "create "+email, func(ctx context.Context) (*authpb.CreateUserResponse, error) {
		return p.users.CreateUser(ctx, &authpb.CreateUserRequest{Email: email, Password: "chaos-Password-2"})
	}, nil).GetId()
	state := func(want string) func(context.Context) (bool, error) {
		return func(ctx context.Context) (bool, error) {
			u, err := p.users.FindUser(ctx, &authpb.FindUserRequest{User: strconv.Itoa(int(id))})
			return u.GetState() == want, err
		}
	}
	suspend := func() {
		until(p, "suspend", func(ctx context.Context) (*authpb.SuspendUserResponse, error) {
			return p.users.SuspendUser(ctx, &authpb.SuspendUserRequest{Id: id})
		}, state("suspended"))
	}
	for range p.rng.IntN(4) {
		suspend()
		until(p, "resume", func(ctx context.Context) (*authpb.ResumeUserResponse, error) {
			return p.users.ResumeUser(ctx, &authpb.ResumeUserRequest{Id: id})
		}, state("active"))
	}
	switch p.rng.IntN(3) {
	case 0:
		suspend()
	case 1:
		until(p, "delete", func(ctx context.Context) (*authpb.DeleteUserResponse, error) {
			return p.users.DeleteUser(ctx, &authpb.DeleteUserRequest{Id: id})
		}, nil)
	}
}

// host makes a host, changes it and perhaps removes it.
func (p *player) host(r int) {
	made := until(p, "create", func(ctx context.Context) (*vmpb.CreateHostResponse, error) {
		return p.hosts.CreateHost(ctx, &vmpb.CreateHostRequest{Name: fmt.Sprintf("%s-%d", p.name, r), Os: p.os, SshKeys: []string{key}})
	}, nil)
	p.done(made.GetTask(), "create")
	id := made.GetId()
	stop := func() {
		p.done(until(p, "stop", func(ctx context.Context) (*oppb.Operation, error) {
			return p.hosts.StopHost(ctx, &vmpb.StopHostRequest{Id: id, Force: true})
		}, nil).GetTask(), "stop")
	}
	for range p.rng.IntN(4) {
		switch p.rng.IntN(4) {
		case 0:
			comment := fmt.Sprint(p.operations)
			until(p, "comment", func(ctx context.Context) (*vmpb.UpdateHostResponse, error) {
				return p.hosts.UpdateHost(ctx, &vmpb.UpdateHostRequest{Id: id, Comment: &comment})
			}, func(ctx context.Context) (bool, error) {
				h, err := p.hosts.GetHost(ctx, &vmpb.GetHostRequest{Id: id})
				return h.GetComment() == comment, err
			})
		case 1:
			p.done(until(p, "restart", func(ctx context.Context) (*vmpb.RestartHostResponse, error) {
				return p.hosts.RestartHost(ctx, &vmpb.RestartHostRequest{Id: id, Force: true})
			}, nil).GetTask(), "restart")
		default:
			stop()
			p.done(until(p, "start", func(ctx context.Context) (*oppb.Operation, error) {
				return p.hosts.StartHost(ctx, &vmpb.StartHostRequest{Id: id})
			}, nil).GetTask(), "start")
		}
	}
	switch p.rng.IntN(3) {
	case 0:
		stop()
	case 1:
		gone := func(ctx context.Context) (bool, error) { // a second delete of a host that is being deleted is the same wish
			h, err := p.hosts.GetHost(ctx, &vmpb.GetHostRequest{Id: id})
			if status.Code(err) == codes.NotFound {
				return true, nil
			}
			return h.GetState() == "deleting", err
		}
		until(p, "delete", func(ctx context.Context) (*oppb.Operation, error) {
			return p.hosts.DeleteHost(ctx, &vmpb.DeleteHostRequest{Id: id})
		}, gone)
		p.await("a delete", func() bool { return p.count("vm", `SELECT count(*) FROM host WHERE id = $1`, id) == 0 })
	}
}

// await waits until something is so.
func (w *world) await(what string, so func() bool) {
	for deadline := time.Now().Add(2 * time.Minute); !so(); time.Sleep(10 * time.Millisecond) { // between two looks
		if time.Now().After(deadline) {
			w.Errorf("seed %d: after two minutes still no end of %s", w.seed, what)
			return
		}
	}
}

// done waits until a task has ended well.
func (p *player) done(task int32, what string) {
	if s := p.end(task, 2*time.Minute); s != "done" {
		p.Errorf("seed %d: %s, task %d: %s", p.seed, what, task, s)
	}
}

// left returns the rows to compare, without ids and times. An event with a new state, after a change without a key,
// may be emitted twice if the call was delivered twice: of such events, left counts the objects. The audit log has
// one record for each answered call.
var left = map[string][]string{
	"vm": {
		`SELECT 'host', name, h.state, wanted, comment, h.account_id, cluster_id, node_id, os_id, cpu_number, ram_mib, anti_spoofing,
			(SELECT array_agg((d.name, size_mib, boot_order, template) ORDER BY d.name) FROM disk d WHERE d.host_id = h.id),
			(SELECT array_agg((position, family, prefix, state, pool_id) ORDER BY position) FROM host_address a WHERE a.host_id = h.id),
			(SELECT array_agg((kind, state, n) ORDER BY kind, state) FROM (
				SELECT kind, state, count(*) AS n FROM job WHERE key = 'host/' || h.id GROUP BY 1, 2) j)
		 FROM host h`,
		`SELECT 'node', cpu_allocated, ram_allocated, storage_allocated, breaker_opened_at IS NULL FROM node`,
		`SELECT 'count', cluster_id, state, sum(n) FROM host_count GROUP BY 2, 3 HAVING sum(n) <> 0`,
		`SELECT 'usage', account_id, host_count, cpu_number, ram_mib, hdd_mib, ipv4_number FROM account_usage WHERE left_at IS NULL`,
		`SELECT 'left', heir, count(*), sum(host_count) FROM account_usage WHERE left_at IS NOT NULL GROUP BY heir`,
		`SELECT 'copy', email, roles, state FROM account`,
		`SELECT 'tasks', kind, state, reason, count(*) FROM job GROUP BY 2, 3, 4`,
		`SELECT 'tombstones', count(*) FROM tombstone`,
		`SELECT 'strangers', count(*) FROM stranger`,
		`SELECT 'reaped', count(*) FROM reaped`,
		`SELECT 'events of vm', subject, count(*) FROM outbox WHERE subject NOT IN ('vm.v3.audit.recorded', 'vm.v3.host.updated') GROUP BY 2`,
		`SELECT 'hosts told of', count(DISTINCT key) FROM outbox WHERE subject = 'vm.v3.host.updated'`,
		`SELECT 'parked', count(*) FROM inbox_parked`,
	},
	"ip": {
		`SELECT 'addresses', state, family(ip), count(*), count(owner) FROM address GROUP BY 2, 3`,
		`SELECT 'history', count(*) FROM address_history`,
		// Not what was reserved for a create that failed, and so given back.
		`SELECT 'events of ip', subject, count(*) FROM outbox WHERE subject NOT IN ('ip.v3.audit.recorded', 'ip.v3.address.released') GROUP BY 2`,
	},
	"auth": {
		`SELECT 'account', email, state FROM user_account`,
		`SELECT 'audit', service, action, actor, object_type, result, count(DISTINCT object_id) FROM audit WHERE result = 'ok' AND object_id <> '' GROUP BY 2, 3, 4, 5, 6`,
		`SELECT 'events of auth', subject, count(DISTINCT key) FROM outbox GROUP BY 2`,
	},
}

// state is all that is left, one text for each row.
func (w *world) state() (all []string) {
	w.Helper()
	for schema, queries := range left {
		for _, q := range queries {
			rows, err := w.pools[schema].Query(w.Context(), q)
			if err != nil {
				w.Fatalf("%s: %v", q, err)
			}
			list, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (string, error) {
				values, err := r.Values()
				return strings.TrimSpace(fmt.Sprintln(values...)), err
			})
			if err != nil {
				w.Fatalf("%s: %v", q, err)
			}
			all = append(all, list...)
		}
	}
	slices.Sort(all)
	return all
}
