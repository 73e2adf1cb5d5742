package simulate

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/jobs"
	"slipway.dev/services/vm/internal/domain"
	"slipway.dev/services/vm/internal/store"
	"slipway.dev/services/vm/internal/work"
)

// memory is what work needs of vm's tables, in memory. TestStoresAgree holds it to the tables.
type memory struct {
	jobs         *jobs.Memory
	installation string
	jumpedAt     time.Time
	lastHost     int32
	nodes        map[int32]node
	hosts        map[int32]host
	tombs        map[uuid.UUID]tomb
	reaped       []reaped
	strangers    map[sightOn]domain.Verdict
	usage        map[int32]domain.Limits
	changed      bool                                // since somebody looked
	begun        func(node int32, machine uuid.UUID) // a removal that nobody asked for
	spendy       bool                                // planted: a host that goes gives nothing back
	said         func(subject, key string)           // what is emitted; taken back with its unit of work it was said all the same
}

type node struct {
	store.Node
	id             int32
	seenAt         time.Time
	cpu, ram, disk int64 // sold
	opened, since  time.Time
}

type host struct {
	domain.Host
	disks   []domain.Disk
	addrs   []domain.Address
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
		jobs: jobs.NewMemory(now), nodes: map[int32]node{}, hosts: map[int32]host{}, tombs: map[uuid.UUID]tomb{},
		strangers: map[sightOn]domain.Verdict{}, usage: map[int32]domain.Limits{}, said: func(string, string) {}, begun: func(int32, uuid.UUID) {},
	}
}

// rows is a process's way to the memory.
type rows struct {
	*memory
	door jobs.Door
}

var (
	_ work.Store = rows{}
	_ work.Store = work.Tables{}
)

// tx is a unit of work. What simulations do not do (templates of OSes) is not there and panics.
type tx struct {
	work.Tx
	*memory
	in *jobs.MemoryTx
}

func (r rows) In(t pgx.Tx) work.Tx { return tx{memory: r.memory, in: t.(*jobs.MemoryTx)} }

func (r rows) InTx(ctx context.Context, f func(work.Tx) error) error {
	return r.inTx(ctx, "unit of work", func(t tx) error { return f(t) })
}

func (r rows) inTx(ctx context.Context, op string, f func(tx) error) error {
	return r.door(ctx, op, func() error {
		return r.jobs.Do(func(t *jobs.MemoryTx) error { return f(tx{memory: r.memory, in: t}) })
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

func missing(what string, id int32) error { return fault.NotFound.With("no %s %d", what, id) }

func (m *memory) now() time.Time { return m.jobs.Now() }

func (t tx) Host(_ context.Context, id, owner int32) (*domain.Host, error) {
	h, there := t.hosts[id]
	if !there || owner != 0 && h.AccountID != owner {
		return &domain.Host{}, missing("host", id)
	}
	return &h.Host, nil
}

func (t tx) SaveHost(_ context.Context, saved *domain.Host) error {
	if h, there := t.hosts[saved.ID]; there {
		h.Name, h.Comment, h.State, h.Wanted, h.changed = saved.Name, saved.Comment, saved.State, saved.Wanted, t.now()
		set(t, t.hosts, h.ID, h)
	}
	return nil
}

func (t tx) InsertHost(_ context.Context, h *domain.Host, disks []domain.Disk, addrs []domain.Address) error {
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
	t.use(h.AccountID, domain.Usage{-1, -int64(h.CPUs), -int64(h.RAM), -disk, -ipv4})
	n := t.nodes[h.NodeID]
	n.cpu, n.ram, n.disk = n.cpu-int64(h.CPUs), n.ram-int64(h.RAM), n.disk-disk
	set(t, t.nodes, n.id, n)
	del(t, t.hosts, id)
	return nil
}

// use counts; an account without a row counts nothing.
func (t tx) use(account int32, add domain.Usage) {
	l, there := t.usage[account]
	if !there {
		return
	}
	for i := range add {
		l.Used[i] += add[i]
	}
	set(t, t.usage, account, l)
}

func (t tx) Charge(_ context.Context, account int32, add domain.Usage) error {
	l := t.usage[account]
	if err := l.Allow(add); err != nil {
		return err
	}
	set(t, t.usage, account, l)
	t.use(account, add)
	return nil
}

func (n node) fits(s store.Size) bool {
	return n.ram+int64(s.RAM) <= int64(n.RAM) && n.disk+s.Disk <= int64(n.StorageMiB) && int64(n.StorageFreeMiB) > s.Disk/10
}

func (t tx) Choose(_ context.Context, _, wanted, _ int32, s store.Size) (best int32, err error) {
	most := int64(-1)
	for _, id := range sorted(t.nodes) {
		n := t.nodes[id]
		if (wanted == 0 || wanted == id) && t.alive(n) && n.fits(s) && int64(n.RAM)-n.ram > most {
			best, most = id, int64(n.RAM)-n.ram
		}
	}
	if best == 0 {
		return 0, store.ErrNoCapacity
	}
	return best, nil
}

func (t tx) Take(ctx context.Context, h *domain.Host, add domain.Usage, s store.Size) error {
	if err := t.Charge(ctx, h.AccountID, add); err != nil {
		return err
	}
	n := t.nodes[h.NodeID]
	if !n.fits(s) {
		return store.ErrTaken
	}
	n.cpu, n.ram, n.disk = n.cpu+int64(s.CPUs), n.ram+int64(s.RAM), n.disk+s.Disk
	set(t, t.nodes, n.id, n)
	return nil
}

func (t tx) Bury(_ context.Context, id int32, fence int64) error {
	h, there := t.hosts[id]
	if _, twice := t.tombs[h.UUID]; there && !twice {
		set(t, t.tombs, h.UUID, tomb{id, t.nodes[h.NodeID].UUID.String(), fence, t.now()})
	}
	return nil
}

func (t tx) MayReap(ctx context.Context, id int32, machine uuid.UUID, machines int) (may, pending bool, err error) {
	n, there := t.nodes[id]
	if !there {
		return false, false, pgx.ErrNoRows
	}
	pending = len(t.in.Pending(store.MachineKey(machine))) > 0
	count := 0
	for _, r := range t.reaped {
		if r.node == id && r.at.After(n.since) && r.at.After(t.now().Add(-time.Hour)) {
			count++
		}
	}
	switch {
	case !n.opened.IsZero() || pending:
		return false, pending, nil
	case count >= domain.BreakerLimit(machines):
		n.opened = t.now()
		set(t, t.nodes, id, n)
		return false, false, t.Emit(ctx, "vm.v3.node.breaker_opened", store.NodeKey(id), nil)
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

func (t tx) Addresses(_ context.Context, id int32) ([]domain.Address, error) {
	return slices.Clone(t.hosts[id].addrs), nil
}

func (t tx) ChangeAddresses(_ context.Context, id, job int32, add, remove []domain.Address) error {
	h := t.hosts[id]
	h.addrs = slices.Clone(h.addrs)
	next := int32(0)
	for i, a := range h.addrs {
		next = max(next, a.Position+1)
		gone := slices.ContainsFunc(remove, func(r domain.Address) bool { return r.Position == a.Position })
		if gone && a.State == domain.AddressActive {
			h.addrs[i].State, h.addrs[i].Job = domain.AddressRemoving, job
		}
	}
	for i, a := range add {
		a.Position, a.State, a.Job = next+int32(i), domain.AddressAdding, job
		h.addrs = append(h.addrs, a)
	}
	set(t, t.hosts, id, h)
	return nil
}

func (t tx) AddressesChanged(_ context.Context, id, job int32) (gone []domain.Address, err error) {
	return t.settle(id, job, domain.AddressRemoving), nil
}

func (t tx) AddressesUnchanged(_ context.Context, id, job int32) error {
	t.settle(id, job, domain.AddressAdding)
	return nil
}

// settle removes a job's addresses that are in this state; its others become active.
func (t tx) settle(id, job int32, state string) (gone []domain.Address) {
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
			a.State, a.Job = domain.AddressActive, 0
		}
		h.addrs = append(h.addrs, a)
	}
	set(t, t.hosts, id, h)
	t.lose(h.AccountID, gone)
	return gone
}

// lose is the trigger of the tables: who loses an address may have another.
func (t tx) lose(account int32, gone []domain.Address) {
	_, ipv4 := host{addrs: gone}.size()
	t.use(account, domain.Usage{domain.IPv4Number: -ipv4})
}

func (t tx) DropAddress(_ context.Context, ip, generation int32, owner string) error {
	for _, id := range sorted(t.hosts) {
		h := t.hosts[id]
		i := slices.IndexFunc(h.addrs, func(a domain.Address) bool {
			return a.IPID == ip && a.Generation == generation && a.State == domain.AddressActive
		})
		if i < 0 || h.UUID.String() != owner || h.State == domain.Creating {
			continue
		}
		t.lose(h.AccountID, h.addrs[i:i+1])
		h.addrs = slices.Delete(slices.Clone(h.addrs), i, i+1)
		set(t, t.hosts, id, h)
	}
	return nil
}

// RegisterNode is a sign of life.
func (t tx) RegisterNode(_ context.Context, said store.Node) (id int32, rebooted bool, err error) {
	if t.installation == "" {
		t.installation = said.StackID
	}
	if said.StackID != "" && said.StackID != t.installation {
		return 0, false, store.ErrOtherInstallation
	}
	for _, id := range sorted(t.nodes) {
		n := t.nodes[id]
		if n.UUID != said.UUID {
			continue
		}
		if t.alive(n) && n.BootID != said.BootID && n.Endpoint != said.Endpoint {
			return 0, false, store.ErrNodeTwice
		}
		rebooted = n.BootID != said.BootID
		n.Node, n.seenAt = said, t.now()
		set(t, t.nodes, id, n)
		return id, rebooted, nil
	}
	id = int32(len(t.nodes)) + 1
	set(t, t.nodes, id, node{Node: said, id: id, seenAt: t.now()})
	return id, false, nil
}

func (t tx) WantedHosts(_ context.Context, node int32) (ids []int32, err error) {
	for _, id := range sorted(t.hosts) {
		h := t.hosts[id]
		if h.NodeID == node && h.Wanted == domain.WantActive && h.State != domain.Creating && h.State != domain.Deleting {
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

func (r rows) Build(ctx context.Context, id int32) (b *store.Build, err error) {
	err = r.inTx(ctx, "build "+store.HostKey(id), func(t tx) error {
		h, there := t.hosts[id]
		if !there {
			return missing("host", id)
		}
		n := t.nodes[h.NodeID]
		b = &store.Build{
			Host: h.Host, Disks: h.disks, Addresses: slices.Clone(h.addrs), Endpoint: n.Endpoint, Bridge: n.Bridge, DNS: n.DNS,
		}
		return nil
	})
	return b, err
}

func (r rows) Agents(ctx context.Context) (list []store.Agent, err error) {
	err = r.inTx(ctx, "agents", func(t tx) error {
		for _, id := range sorted(t.nodes) {
			list = append(list, store.Agent{ID: id, Endpoint: t.nodes[id].Endpoint, Alive: t.alive(t.nodes[id])})
		}
		return nil
	})
	return list, err
}

func (r rows) Leftover(ctx context.Context, id int32, machine string) (endpoint string, is bool, err error) {
	err = r.inTx(ctx, "leftover "+machine, func(t tx) error {
		n, there := t.nodes[id]
		if !there {
			return missing("node", id)
		}
		endpoint, is = n.Endpoint, t.isHost(machine)
		return nil
	})
	return endpoint, is, err
}

func (m *memory) isHost(machine string) bool {
	for _, h := range m.hosts {
		if h.UUID.String() == machine {
			return true
		}
	}
	return false
}

func (r rows) Now(ctx context.Context) (at time.Time, err error) {
	err = r.inTx(ctx, "now", func(t tx) error {
		at = t.now()
		return nil
	})
	return at, err
}

var seenStates = []domain.State{domain.Active, domain.Stopped, domain.Crashed, domain.Paused}

func (r rows) Observe(ctx context.Context, id int32, since time.Time, seen []store.Sight) (changed int64, err error) {
	err = r.inTx(ctx, "observe "+store.NodeKey(id), func(t tx) error {
		changed = 0
		for _, hostID := range sorted(t.hosts) {
			h, is := t.hosts[hostID], domain.Crashed
			if i := slices.IndexFunc(seen, func(s store.Sight) bool { return s.UUID == h.UUID }); i >= 0 {
				is = seen[i].State
			}
			if h.NodeID != id || !h.changed.Before(since) || h.State == is || h.State != domain.Unknown && !slices.Contains(seenStates, h.State) ||
				len(t.in.Pending(store.HostKey(hostID))) > 0 {
				continue
			}
			h.State, h.changed = is, t.now()
			set(t, t.hosts, hostID, h)
			changed++
		}
		return nil
	})
	return changed, err
}

func (r rows) LoseSight(ctx context.Context, id int32) error {
	return r.inTx(ctx, "lose sight "+store.NodeKey(id), func(t tx) error {
		for _, hostID := range sorted(t.hosts) {
			if h := t.hosts[hostID]; h.NodeID == id && slices.Contains(seenStates, h.State) {
				h.State, h.changed = domain.Unknown, t.now()
				set(t, t.hosts, hostID, h)
			}
		}
		return nil
	})
}

func (r rows) Strangers(ctx context.Context, id int32, since time.Time, seen []store.Sight) (list []store.Stranger, err error) {
	err = r.inTx(ctx, "strangers "+store.NodeKey(id), func(t tx) error {
		for _, s := range seen {
			if t.isHost(s.UUID.String()) {
				continue
			}
			x := store.Stranger{Sight: s, Evidence: domain.Evidence{
				Installation: t.installation, Node: t.nodes[id].UUID.String(), StackID: s.StackID, NodeID: s.NodeID, Fence: s.Fence,
			}}
			if grave, is := t.tombs[s.UUID]; is && grave.at.Before(since) {
				x.Buried, x.BuriedOn, x.BuriedFence = true, grave.node, grave.fence
			}
			list = append(list, x)
		}
		slices.SortFunc(list, func(a, b store.Stranger) int { return strings.Compare(a.UUID.String(), b.UUID.String()) })
		return nil
	})
	return list, err
}

// The bounds of a jump, as in store.
const (
	maxFenceJump = 1_000_000_000
	maxIDJump    = 1_000_000
	ahead        = 10_000
)

func (r rows) CatchUp(ctx context.Context, seen []store.Stranger) (jumped bool, err error) {
	var high, id int64
	for _, x := range seen {
		if domain.Judge(x.Evidence) != domain.NoProof {
			high, id = max(high, x.Sight.Fence), max(id, int64(x.HostID))
		}
	}
	if high == 0 && id == 0 {
		return false, nil
	}
	err = r.inTx(ctx, "catch up", func(t tx) error {
		fence, job := t.in.Numbers()
		fence, last, job := max(fence, 1), max(int64(t.lastHost), 1), max(job, 100001) // a sequence that was never asked says its first
		behind := fence < high && high-fence < maxFenceJump || last < id && id-last < maxIDJump
		if !behind || !t.jumpedAt.IsZero() && !t.jumpedAt.Before(t.now().Add(-time.Hour)) {
			return nil
		}
		t.jumpedAt, jumped = t.now(), true
		t.in.SetNumbers(max(fence, high)+ahead, job+ahead)
		t.lastHost = int32(max(last, id) + ahead)
		return nil
	})
	return jumped, err
}

func (r rows) KeepStrangers(ctx context.Context, id int32, list []store.Stranger, verdicts []domain.Verdict) error {
	return r.inTx(ctx, "strangers of "+store.NodeKey(id), func(t tx) error {
		for k := range t.strangers {
			if k.node == id && !slices.ContainsFunc(list, func(x store.Stranger) bool { return x.UUID == k.machine }) {
				del(t, t.strangers, k)
			}
		}
		for i, x := range list {
			set(t, t.strangers, sightOn{id, x.UUID}, verdicts[i])
		}
		return nil
	})
}

// FoldCounts has nothing to do: numbers of hosts are counted.
func (rows) FoldCounts(context.Context) error { return nil }
