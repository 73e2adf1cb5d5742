package simulate

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/jobs"
	"slipway.dev/pkg/jobs/jobsim"
	"slipway.dev/services/vm/internal/account"
	"slipway.dev/services/vm/internal/address"
	"slipway.dev/services/vm/internal/disk"
	hosts "slipway.dev/services/vm/internal/host"
	"slipway.dev/services/vm/internal/ipchange"
	"slipway.dev/services/vm/internal/leftover"
	"slipway.dev/services/vm/internal/machine"
	nodes "slipway.dev/services/vm/internal/node"
	"slipway.dev/services/vm/internal/power"
	"slipway.dev/services/vm/internal/resource"
	"slipway.dev/services/vm/internal/task"
	"slipway.dev/services/vm/internal/worker"
)

// memory is what work needs of vm's tables, in memory. TestStoresAgree holds it to the tables.
type memory struct {
	jobs         *jobsim.Memory
	installation string
	jumpedAt     time.Time
	lastHost     int32
	nodes        map[int32]node
	hosts        map[int32]host
	tombs        map[uuid.UUID]tomb
	reaped       []reaped
	strangers    map[sightOn]leftover.Verdict
	usage        map[int32]account.Limits
	changed      bool                                // since the last check
	begun        func(node int32, machine uuid.UUID) // a removal without a request
	spendy       bool                                // planted: a host that goes gives nothing back
	said         func(subject, key string)           // what is emitted; taken back with its unit of work it was said all the same
}

type node struct {
	nodes.Description
	id             int32
	seenAt         time.Time
	cpu, ram, disk int64 // sold
	opened, since  time.Time
}

type host struct {
	hosts.Host
	disks   []disk.Disk
	addrs   []address.Address
	changed time.Time
}

type tomb struct {
	host  int32
	node  string
	fence int64
	at    time.Time
}

type reaped struct {
	node    int32
	machine uuid.UUID
	at      time.Time
}

type sightOn struct {
	node    int32
	machine uuid.UUID
}

func newMemory(now func() time.Time) *memory {
	return &memory{
		jobs: jobsim.New(now), nodes: map[int32]node{}, hosts: map[int32]host{}, tombs: map[uuid.UUID]tomb{},
		strangers: map[sightOn]leftover.Verdict{}, usage: map[int32]account.Limits{}, said: func(string, string) {}, begun: func(int32, uuid.UUID) {},
	}
}

// rows is a process's way to the memory.
type rows struct {
	*memory
	intercept jobsim.Interceptor
}

// tx is a unit of work.
type tx struct {
	*memory
	in *jobsim.Tx
}

// all returns the memory as the worker needs it.
func (r rows) all() worker.Rows {
	in := func(t pgx.Tx) tx { return tx{memory: r.memory, in: t.(*jobsim.Tx)} }
	return worker.Rows{
		Machine: r.Build, Leftovers: r, Watch: r,
		Host:     func(t pgx.Tx) hosts.Tx { return in(t) },
		Power:    func(t pgx.Tx) power.Tx { return in(t) },
		IPChange: func(t pgx.Tx) ipchange.Tx { return in(t) },
		Resource: func(t pgx.Tx) resource.Tx { return in(t) },
	}
}

func (r rows) inTx(ctx context.Context, op string, f func(tx) error) error {
	return r.intercept(ctx, op, func() error {
		return r.jobs.Do(func(t *jobsim.Tx) error { return f(tx{memory: r.memory, in: t}) })
	})
}

// set changes a row, and takes it back with the unit of work.
func set[K comparable, V any](t tx, rows map[K]V, k K, v V) {
	old, had := rows[k]
	t.in.Undo(func() {
		if had {
			rows[k] = old
		} else {
			delete(rows, k)
		}
	})
	rows[k] = v
	t.changed = true
}

func del[K comparable, V any](t tx, rows map[K]V, k K) {
	if old, had := rows[k]; had {
		delete(rows, k)
		t.in.Undo(func() { rows[k] = old })
		t.changed = true
	}
}

func sorted[K cmp.Ordered, V any](rows map[K]V) []K { return slices.Sorted(maps.Keys(rows)) }

func hostKey(id int32) string { return task.HostKey(id) }

func nodeKey(id int32) string { return fmt.Sprint("node/", id) }

func machineKey(id uuid.UUID) string { return "machine/" + id.String() }

func missing(what string, id int32) error { return fault.NotFound.With("no %s %d", what, id) }

func (m *memory) now() time.Time { return m.jobs.Now() }

func (t tx) Host(_ context.Context, id, owner int32) (*hosts.Host, error) {
	h, there := t.hosts[id]
	if !there || owner != 0 && h.AccountID != owner {
		return &hosts.Host{}, missing("host", id)
	}
	return &h.Host, nil
}

func (t tx) SaveHost(_ context.Context, saved *hosts.Host) error {
	if h, there := t.hosts[saved.ID]; there {
		h.Name, h.Comment, h.State, h.Wanted, h.changed = saved.Name, saved.Comment, saved.State, saved.Wanted, t.now()
		set(t, t.hosts, h.ID, h)
	}
	return nil
}

func (t tx) InsertHost(_ context.Context, h *hosts.Host, disks []disk.Disk, addrs []address.Address) error {
	t.lastHost++ // a sequence goes on whatever becomes of the unit of work
	h.ID, h.CreatedAt = t.lastHost, t.now()
	for i := range addrs {
		addrs[i].Position = int32(i)
	}
	set(t, t.hosts, h.ID, host{*h, disks, addrs, t.now()})
	return nil
}

func (h host) size() (disk int64, ipv4 int64) {
	for _, d := range h.disks {
		disk += int64(d.SizeMiB)
	}
	for _, a := range h.addrs {
		if a.Family == 4 {
			ipv4++
		}
	}
	return disk, ipv4
}

func (t tx) DeleteHost(_ context.Context, id int32) error {
	h, there := t.hosts[id]
	if !there {
		return nil
	}
	disk, ipv4 := h.size()
	if t.spendy {
		h.CPUs, h.RAM = 0, 0
	}
	t.use(h.AccountID, account.Usage{-1, -int64(h.CPUs), -int64(h.RAM), -disk, -ipv4})
	n := t.nodes[h.NodeID]
	n.cpu, n.ram, n.disk = n.cpu-int64(h.CPUs), n.ram-int64(h.RAM), n.disk-disk
	set(t, t.nodes, n.id, n)
	del(t, t.hosts, id)
	return nil
}

// use counts; an account without a row counts nothing.
func (t tx) use(account int32, add account.Usage) {
	l, there := t.usage[account]
	if !there {
		return
	}
	for i := range add {
		l.Used[i] += add[i]
	}
	set(t, t.usage, account, l)
}

func (t tx) Charge(_ context.Context, account int32, add account.Usage) error {
	l := t.usage[account]
	if err := l.Allow(add); err != nil {
		return err
	}
	set(t, t.usage, account, l)
	t.use(account, add)
	return nil
}

func (n node) fits(s nodes.Size) bool {
	return n.ram+int64(s.RAM) <= int64(n.RAM) && n.disk+s.Disk <= int64(n.StorageMiB) && int64(n.StorageFreeMiB) > s.Disk/10
}

func (t tx) Choose(_ context.Context, _, wanted, _ int32, s nodes.Size) (best int32, err error) {
	most, silent := int64(-1), len(t.nodes) > 0
	for _, id := range sorted(t.nodes) {
		n := t.nodes[id]
		if wanted != 0 && wanted != id || !t.alive(n) {
			continue
		}
		silent = false
		if n.fits(s) && int64(n.RAM)-n.ram > most {
			best, most = id, int64(n.RAM)-n.ram
		}
	}
	switch {
	case silent:
		return 0, fault.Unavailable
	case best == 0:
		return 0, nodes.ErrNoCapacity
	}
	return best, nil
}

func (t tx) Take(ctx context.Context, h *hosts.Host, add account.Usage, s nodes.Size) error {
	if err := t.Charge(ctx, h.AccountID, add); err != nil {
		return err
	}
	n := t.nodes[h.NodeID]
	if !n.fits(s) {
		return nodes.ErrRoomTaken
	}
	n.cpu, n.ram, n.disk = n.cpu+int64(s.CPUs), n.ram+int64(s.RAM), n.disk+s.Disk
	set(t, t.nodes, n.id, n)
	return nil
}

func (t tx) BuryHost(_ context.Context, id int32, fence int64) error {
	h, there := t.hosts[id]
	if _, twice := t.tombs[h.UUID]; there && !twice {
		set(t, t.tombs, h.UUID, tomb{id, t.nodes[h.NodeID].UUID.String(), fence, t.now()})
	}
	return nil
}

func (t tx) mayReap(ctx context.Context, id int32, machine uuid.UUID, machines int) (may, pending bool, err error) {
	n, there := t.nodes[id]
	if !there {
		return false, false, pgx.ErrNoRows
	}
	pending = len(t.in.Pending(machineKey(machine))) > 0
	count := 0
	for _, r := range t.reaped {
		if r.node == id && r.at.After(n.since) && r.at.After(t.now().Add(-time.Hour)) {
			count++
		}
	}
	switch {
	case !n.opened.IsZero() || pending:
		return false, pending, nil
	case count >= leftover.BreakerLimit(machines):
		n.opened = t.now()
		set(t, t.nodes, id, n)
		return false, false, t.Emit(ctx, "vm.v3.node.breaker_opened", nodeKey(id), nil)
	}
	old := t.reaped
	t.in.Undo(func() { t.reaped = old })
	t.reaped = append(slices.Clone(old), reaped{id, machine, t.now()})
	t.begun(id, machine)
	return true, false, nil
}

func (t tx) ResetBreaker(_ context.Context, id int32) error {
	n, there := t.nodes[id]
	if !there {
		return missing("node", id)
	}
	n.opened, n.since = time.Time{}, t.now()
	set(t, t.nodes, id, n)
	return nil
}

func (t tx) Addresses(_ context.Context, id int32) ([]address.Address, error) {
	return slices.Clone(t.hosts[id].addrs), nil
}

func (t tx) ChangeAddresses(_ context.Context, id, job int32, add, remove []address.Address) error {
	h := t.hosts[id]
	h.addrs = slices.Clone(h.addrs)
	next := int32(0)
	for i, a := range h.addrs {
		next = max(next, a.Position+1)
		gone := slices.ContainsFunc(remove, func(r address.Address) bool { return r.Position == a.Position })
		if gone && a.State == address.Active {
			h.addrs[i].State, h.addrs[i].Job = address.Removing, job
		}
	}
	for i, a := range add {
		a.Position, a.State, a.Job = next+int32(i), address.Adding, job
		h.addrs = append(h.addrs, a)
	}
	set(t, t.hosts, id, h)
	return nil
}

// Stopped changes nothing: no size waits in the memory.
func (t tx) Stopped(context.Context, int32) error { return nil }

// Resized changes nothing: no request of the simulation changes resources.
func (t tx) Resized(context.Context, int32, int32, func(*hosts.Host)) error { return nil }

// Booted changes nothing: the networks of the memory do not change.
func (t tx) Booted(context.Context, int32, machine.Booted) error { return nil }

func (t tx) AddressesChanged(_ context.Context, id, job int32) (gone []address.Address, err error) {
	return t.settle(id, job, address.Removing), nil
}

func (t tx) AddressesUnchanged(_ context.Context, id, job int32) error {
	t.settle(id, job, address.Adding)
	return nil
}

// settle removes a job's addresses that are in this state; its others become active.
func (t tx) settle(id, job int32, state string) (gone []address.Address) {
	h, there := t.hosts[id]
	if !there {
		return nil
	}
	addrs := h.addrs
	h.addrs = nil
	for _, a := range addrs {
		if a.Job == job && a.State == state {
			gone = append(gone, a)
			continue
		}
		if a.Job == job {
			a.State, a.Job = address.Active, 0
		}
		h.addrs = append(h.addrs, a)
	}
	set(t, t.hosts, id, h)
	t.lose(h.AccountID, gone)
	return gone
}

// lose is the trigger of the tables: an account that loses an address may have another.
func (t tx) lose(owner int32, gone []address.Address) {
	_, ipv4 := host{addrs: gone}.size()
	t.use(owner, account.Usage{account.IPv4Number: -ipv4})
}

func (t tx) DropAddress(_ context.Context, ip, generation int32, owner string) error {
	for _, id := range sorted(t.hosts) {
		h := t.hosts[id]
		i := slices.IndexFunc(h.addrs, func(a address.Address) bool {
			return a.IPID == ip && a.Generation == generation && a.State == address.Active
		})
		if i < 0 || h.UUID.String() != owner || h.State == hosts.Creating {
			continue
		}
		t.lose(h.AccountID, h.addrs[i:i+1])
		h.addrs = slices.Delete(slices.Clone(h.addrs), i, i+1)
		set(t, t.hosts, id, h)
	}
	return nil
}

// RegisterNode is a sign of life.
func (t tx) RegisterNode(_ context.Context, said nodes.Description) (id int32, rebooted bool, err error) {
	if t.installation == "" {
		t.installation = said.StackID
	}
	if said.StackID != "" && said.StackID != t.installation {
		return 0, false, nodes.ErrOtherInstallation
	}
	for _, id := range sorted(t.nodes) {
		n := t.nodes[id]
		if n.UUID != said.UUID {
			continue
		}
		if t.alive(n) && n.BootID != said.BootID && n.Endpoint != said.Endpoint {
			return 0, false, nodes.ErrNodeTwice
		}
		rebooted = n.BootID != said.BootID
		n.Description, n.seenAt = said, t.now()
		set(t, t.nodes, id, n)
		return id, rebooted, nil
	}
	id = int32(len(t.nodes)) + 1
	set(t, t.nodes, id, node{Description: said, id: id, seenAt: t.now()})
	return id, false, nil
}

func (t tx) WantedHosts(_ context.Context, node int32) (ids []int32, err error) {
	for _, id := range sorted(t.hosts) {
		h := t.hosts[id]
		if h.NodeID == node && h.Wanted == hosts.WantActive && h.State != hosts.Creating && h.State != hosts.Deleting {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

func (t tx) Enqueue(_ context.Context, n jobs.New) (jobs.Job, error) { return t.in.Enqueue(n) }

func (t tx) Cancel(_ context.Context, key string) error {
	t.in.Cancel(key)
	return nil
}

func (t tx) Emit(_ context.Context, subject, key string, _ proto.Message) error {
	t.said(strings.TrimPrefix(subject, "vm.v3."), key)
	return nil
}

func (m *memory) alive(n node) bool { return n.seenAt.After(m.now().Add(-35 * time.Second)) }
