package simulate

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/jobs"
	"slipway.dev/pkg/pg/pgtest"
	"slipway.dev/pkg/query"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/account"
	"slipway.dev/services/vm/internal/address"
	"slipway.dev/services/vm/internal/cluster"
	"slipway.dev/services/vm/internal/disk"
	hosts "slipway.dev/services/vm/internal/host"
	"slipway.dev/services/vm/internal/image"
	"slipway.dev/services/vm/internal/leftover"
	nodes "slipway.dev/services/vm/internal/node"
	"slipway.dev/services/vm/internal/schema"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// two are the tables and the memory: what is done to one is done to the other.
type two struct {
	*testing.T
	pool *pgxpool.Pool
	sql  *unit.DB
	mem  *memory
	did  []string
}

func (w *two) same(what string, sql, mem any) {
	w.Helper()
	if !strings.HasPrefix(what, "  ") {
		w.did = append(w.did, what)
	}
	if a, b := fmt.Sprint(sql), fmt.Sprint(mem); a != b {
		w.Fatalf("%s%s\nthe tables: %s\nthe memory: %s", strings.Join(w.did, ", "), what, a, b)
	}
}

func reason(err error) string {
	if f, ok := fault.From(err); ok {
		return f.Reason
	}
	return fmt.Sprint(err)
}

func open(_ context.Context, _ string, do func() error) error { return do() }

// tx runs f as a unit of work on both.
func (w *two) tx(what string, f func(t steps) (any, error)) {
	w.Helper()
	var sql, mem any
	sqlErr := w.sql.InTx(w.Context(), func(t *unit.Tx) (err error) {
		sql, err = f(tablesOf(t))
		return err
	})
	memErr := rows{w.mem, open}.inTx(w.Context(), "", func(t tx) (err error) {
		mem, err = f(t)
		return err
	})
	w.same(what, fmt.Sprint(sql, reason(sqlErr)), fmt.Sprint(mem, reason(memErr)))
	w.compare()
}

// do runs f on both.
func (w *two) do(what string, f func(s store) (any, error)) {
	w.Helper()
	answer := func(s store) string {
		v, err := f(s)
		return fmt.Sprint(v, reason(err))
	}
	w.same(what, answer(storeOf(w.sql)), answer(rows{w.mem, open}))
	w.compare()
}

func (w *two) compare() {
	w.Helper()
	w.same("  hosts", w.texts(`
		SELECT concat_ws(' ', h.id, h.uuid, h.state, h.wanted, h.node_id, coalesce((
			SELECT string_agg(concat_ws('/', position, ip_id, state, coalesce(job_id, 0), generation), ' ' ORDER BY position)
			FROM host_address WHERE host_id = h.id), '-')) FROM host h ORDER BY id`), w.hosts())
	w.same("  nodes", w.texts(`
		SELECT concat_ws(' ', id, cpu_allocated, ram_allocated, storage_allocated, breaker_opened_at IS NOT NULL,
			(SELECT count(*) FROM reaped WHERE node_id = node.id)) FROM node ORDER BY id`), w.nodes())
	w.same("  tombstones and strangers", w.texts(`
		SELECT concat_ws(' ', uuid, host_id, node, fence) FROM tombstone UNION
		SELECT concat_ws(' ', uuid, node_id, verdict) FROM stranger ORDER BY 1`), w.tombs())
	w.same("  usage", w.texts(`
		SELECT concat_ws(' ', account_id, host_count, cpu_number, ram_mib, hdd_mib, ipv4_number) FROM account_usage ORDER BY account_id`), w.uses())
	w.same("  jobs", w.texts(`SELECT concat_ws(' ', id, kind, key, state) FROM job ORDER BY id`), w.tasks())
}

func (w *two) texts(sql string) (list []string) {
	rows, err := w.pool.Query(w.Context(), sql)
	if err != nil {
		w.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			w.Fatal(err)
		}
		list = append(list, s)
	}
	return list
}

func (w *two) hosts() (list []string) {
	for _, id := range sorted(w.mem.hosts) {
		h := w.mem.hosts[id]
		text := fmt.Sprint(id, " ", h.UUID, " ", h.State, " ", h.Wanted, " ", h.NodeID)
		for _, a := range h.addrs {
			text += fmt.Sprintf(" %d/%d/%s/%d/%d", a.Position, a.IPID, a.State, a.Job, a.Generation)
		}
		if len(h.addrs) == 0 {
			text += " -"
		}
		list = append(list, text)
	}
	return list
}

func (w *two) nodes() (list []string) {
	for _, id := range sorted(w.mem.nodes) {
		n, count := w.mem.nodes[id], 0
		for _, r := range w.mem.reaped {
			if r.node == id {
				count++
			}
		}
		open := map[bool]string{true: "f", false: "t"}[n.opened.IsZero()]
		list = append(list, fmt.Sprint(id, " ", n.cpu, " ", n.ram, " ", n.disk, " ", open, " ", count))
	}
	return list
}

func (w *two) tombs() []string {
	all := map[string]bool{}
	for id, g := range w.mem.tombs {
		all[fmt.Sprint(id, " ", g.host, " ", g.node, " ", g.fence)] = true
	}
	for k, v := range w.mem.strangers {
		all[fmt.Sprint(k.machine, " ", k.node, " ", v)] = true
	}
	return sorted(all)
}

func (w *two) uses() (list []string) {
	for _, id := range sorted(w.mem.usage) {
		u := w.mem.usage[id].Used
		list = append(list, fmt.Sprint(id, " ", u[0], " ", u[1], " ", u[2], " ", u[3], " ", u[4]))
	}
	return list
}

func (w *two) tasks() (list []string) {
	for _, j := range w.mem.jobs.Jobs() {
		list = append(list, fmt.Sprint(j.ID, " ", j.Kind, " ", j.Key, " ", j.State))
	}
	return list
}

// nodeNamed is a node as it describes itself.
func nodeNamed(n int) nodes.Description {
	return nodes.Description{
		StackID: "s", UUID: uuid.NewSHA1(uuid.Nil, []byte{byte(n)}), Name: fmt.Sprint("n", n), Endpoint: fmt.Sprint("n", n), CPUs: 64, RAM: 4096,
		StorageMiB: 100_000, StorageFreeMiB: 100_000, BootID: "1", Bridge: "br0",
	}
}

// TestStoresAgree does the same to the tables and to the memory, by chance, and compares answers and rows after each: what
// the simulation shows on the memory is true of the tables. Time is changed, not waited for.
func TestStoresAgree(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			pool := pgtest.New(t, schema.Lines...)
			w := &two{T: t, pool: pool, sql: &unit.DB{Pool: pool, Lists: query.NewReader(pool, query.Limits{})}, mem: newMemory(time.Now)}
			if err := cluster.Ensure(t.Context(), w.sql, "c", "{name}"); err != nil {
				t.Fatal(err)
			}
			for n := range 2 {
				w.tx("register", func(t steps) (any, error) {
					id, _, err := t.RegisterNode(w.Context(), nodeNamed(n+1))
					if sql, ok := t.(tables); ok && err == nil {
						err = image.Sync(w.Context(), sql.tx, id, []image.Version{{Name: "tiny", SHA256: "x", MinRAM: 1, MinDisk: 1}})
					}
					return id, err
				})
			}
			random := rand.New(rand.NewPCG(seed, 2))
			for range 250 {
				w.chance(random)
			}
		})
	}
}

// chance does one thing to a host or machine that was picked.
func (w *two) chance(random *rand.Rand) {
	ctx := w.Context()
	id, node, job := int32(77), 1+random.Int32N(2), int32(100001)
	if ids := sorted(w.mem.hosts); len(ids) > 0 && random.IntN(10) > 0 {
		id = ids[random.IntN(len(ids))]
	}
	for _, a := range w.mem.hosts[id].addrs {
		job = max(job, a.Job)
	}
	machine := uuid.NewSHA1(uuid.Nil, fmt.Append(nil, "machine", random.IntN(8)))
	states := []hosts.State{hosts.Active, hosts.Stopped, hosts.Unknown, hosts.Deleting, hosts.Creating}
	switch random.IntN(20) {
	case 0, 1, 2:
		size := nodes.Size{CPUs: 1, RAM: 700, Disk: 500}
		n := random.Int32N(1000)
		w.tx("create", func(t steps) (any, error) {
			on, err := t.Choose(ctx, 1, 0, 1, size)
			if err != nil {
				return nil, err
			}
			h := &hosts.Host{
				UUID: machine, Name: "h", Hostname: "h", State: hosts.Active, Wanted: hosts.WantActive, AccountID: 1 + n%2, ClusterID: 1, NodeID: on, OSID: 1,
				CPUs: 1, RAM: 700, MAC: hosts.MAC(machine),
			}
			if w.mem.isHost(machine.String()) {
				return nil, fault.Invalid // or the database says so
			}
			addr := address.Address{IPID: n, Family: 4, Prefix: 24, Addr: "10.0.0.9", Mask: "m", State: address.Active, Generation: 1}
			if err := t.InsertHost(ctx, h, []disk.Disk{{Name: "disk0", SizeMiB: 500}}, []address.Address{addr}); err != nil {
				return nil, err
			}
			return h.ID, t.Take(ctx, h, account.Usage{1, 1, 700, 500, 1}, size)
		})
	case 3, 4:
		state, twice := states[random.IntN(len(states))], random.IntN(4) == 0
		w.tx("save", func(t steps) (any, error) {
			h, err := t.Host(ctx, id, 0)
			if err != nil {
				return nil, err
			}
			h.State, h.Wanted = state, hosts.WantStopped
			if err := t.SaveHost(ctx, h); err != nil || !twice {
				return nil, err
			}
			return nil, fault.Invalid // all is taken back
		})
	case 5:
		w.tx("delete", func(t steps) (any, error) {
			if err := t.BuryHost(ctx, id, int64(id)); err != nil {
				return nil, err
			}
			return nil, t.DeleteHost(ctx, id)
		})
	case 6, 7, 8:
		again := random.IntN(2) == 0
		if again { // as if the last removal had ended
			w.tx("end", func(t steps) (any, error) { return nil, t.Cancel(ctx, machineKey(machine)) })
		}
		w.do("reap", func(s store) (any, error) {
			may, pending, err := s.Reap(ctx, node, machine, 10, jobs.New{Kind: "machine_reap", Key: machineKey(machine)})
			return fmt.Sprint(may, pending), err
		})
	case 9:
		w.tx("reset", func(t steps) (any, error) { return nil, t.ResetBreaker(ctx, node) })
	case 10:
		job++
		add := address.Address{IPID: 7000 + job, Family: 4, Prefix: 24, Addr: "10.0.0.8", Mask: "m", Generation: 2}
		w.tx("change", func(t steps) (any, error) {
			h, err := t.Host(ctx, id, 0)
			if err != nil {
				return nil, err
			}
			list, err := t.Addresses(ctx, id)
			if err != nil {
				return nil, err
			}
			if err := t.Charge(ctx, h.AccountID, account.Usage{account.IPv4Number: 1}); err != nil {
				return nil, err
			}
			return len(list), t.ChangeAddresses(ctx, id, job, []address.Address{add}, list[:min(2, len(list))])
		})
	case 11:
		w.tx("changed", func(t steps) (any, error) {
			gone, err := t.AddressesChanged(ctx, id, job)
			return len(gone), err
		})
	case 12:
		w.tx("unchanged", func(t steps) (any, error) { return nil, t.AddressesUnchanged(ctx, id, job) })
	case 13:
		for _, a := range w.mem.hosts[id].addrs {
			owner := w.mem.hosts[id].UUID.String()
			w.tx("drop", func(t steps) (any, error) { return nil, t.DropAddress(ctx, a.IPID, 1, owner) })
		}
	case 14:
		if random.IntN(2) == 0 {
			w.tx("task", func(t steps) (any, error) {
				j, err := t.Enqueue(ctx, jobs.New{Kind: "k", Key: hostKey(id)})
				return j.ID, err
			})
		} else {
			w.tx("cancel", func(t steps) (any, error) { return nil, t.Cancel(ctx, hostKey(id)) })
		}
	case 15:
		if random.IntN(3) > 0 {
			return
		}
		w.do("lose sight", func(s store) (any, error) { return nil, s.LoseContact(ctx, node) })
	case 16, 17:
		w.look(node, machine, random.IntN(4) > 0, random.Int64N(6))
	case 18:
		boot := fmt.Sprint(random.IntN(2))
		w.tx("sign of life", func(t steps) (any, error) {
			n := nodeNamed(int(node))
			n.BootID = boot
			id, rebooted, err := t.RegisterNode(ctx, n)
			if err != nil {
				return nil, err
			}
			ids, err := t.WantedHosts(ctx, id)
			return fmt.Sprint(id, rebooted, ids), err
		})
		w.do("build", func(s store) (any, error) {
			b, err := s.Build(ctx, id)
			if err != nil {
				return nil, err
			}
			return fmt.Sprint(b.UUID, b.Node, b.Endpoint, b.Bridge, len(b.Addresses), len(b.Disks)), nil
		})
	case 19:
		if random.IntN(3) == 0 {
			w.pass(2 * time.Hour)
		}
		w.do("agents", func(s store) (any, error) { return s.Agents(ctx) })
		w.do("leftover", func(s store) (any, error) {
			endpoint, is, err := s.Leftover(ctx, node, machine.String())
			return fmt.Sprint(endpoint, is), err
		})
	}
}

// look takes in what a node saw: all its hosts but one, and a machine that may be no host.
func (w *two) look(node int32, machine uuid.UUID, fresh bool, fence int64) {
	ctx := w.Context()
	seen := []hosts.Observation{{UUID: machine, State: hosts.Active, HostID: int32(fence), StackID: "s", NodeID: nodeNamed(int(node)).UUID.String(), Fence: fence}}
	for _, id := range sorted(w.mem.hosts)[min(1, len(w.mem.hosts)):] {
		if h := w.mem.hosts[id]; h.UUID != machine {
			seen = append(seen, hosts.Observation{UUID: h.UUID, State: hosts.Stopped})
		}
	}
	since := func(s store) time.Time {
		at, _, err := s.Begin(ctx, node, time.Minute)
		if err != nil {
			w.Fatal(err)
		}
		if !fresh {
			at = at.Add(-time.Hour)
		}
		return at
	}
	w.do("begin", func(s store) (any, error) {
		lately := time.Hour
		if fresh {
			lately = -time.Hour // nothing was changed later than in an hour
		}
		_, quiet, err := s.Begin(ctx, node, lately)
		return quiet, err
	})
	w.do("observe", func(s store) (any, error) { return s.Observe(ctx, node, since(s), seen) })
	w.do("strangers", func(s store) (any, error) {
		list, err := s.Strangers(ctx, node, since(s), seen)
		if err != nil {
			return nil, err
		}
		verdicts := make([]leftover.Verdict, len(list))
		for i, x := range list {
			verdicts[i] = leftover.Classify(x.Evidence)
		}
		fence, id := highest(list)
		jumped, err := s.CatchUp(ctx, fence, id)
		if err != nil {
			return nil, err
		}
		return fmt.Sprint(list, verdicts, jumped), s.KeepStrangers(ctx, node, list, verdicts)
	})
}

// pass makes what happened older.
func (w *two) pass(d time.Duration) {
	for _, sql := range []string{
		`UPDATE reaped SET at = at - $1::interval`, `UPDATE node SET seen_at = seen_at - $1::interval, breaker_since = breaker_since - $1::interval`,
	} {
		if _, err := w.pool.Exec(w.Context(), sql, d); err != nil {
			w.Fatal(err)
		}
	}
	for i := range w.mem.reaped {
		w.mem.reaped[i].at = w.mem.reaped[i].at.Add(-d)
	}
	for id, n := range w.mem.nodes {
		n.seenAt, n.since = n.seenAt.Add(-d), n.since.Add(-d)
		w.mem.nodes[id] = n
	}
}
