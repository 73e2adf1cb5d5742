package simulate

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"slipway.dev/pkg/jobs"
	hosts "slipway.dev/services/vm/internal/host"
	"slipway.dev/services/vm/internal/leftover"
	"slipway.dev/services/vm/internal/machine"
	nodes "slipway.dev/services/vm/internal/node"
)

func (r rows) Build(ctx context.Context, id int32) (b *machine.Machine, err error) {
	err = r.inTx(ctx, "build "+hostKey(id), func(t tx) error {
		h, there := t.hosts[id]
		if !there {
			return missing("host", id)
		}
		n := t.nodes[h.NodeID]
		b = &machine.Machine{
			ID: h.ID, UUID: h.UUID, Name: h.Name, Hostname: h.Hostname, Domain: h.Domain, CPUs: h.CPUs, RAM: h.RAM, MAC: h.MAC,
			AntiSpoofing: h.AntiSpoofing, Limited: h.AntiSpoofing, PasswordHash: h.PasswordHash, SSHKeys: h.SSHKeys, Disks: h.disks, Addresses: slices.Clone(h.addrs), Node: n.UUID, Endpoint: n.Endpoint, Bridge: n.Bridge, DNS: n.DNS,
		}
		return nil
	})
	return b, err
}

func (r rows) Agents(ctx context.Context) (list []nodes.Agent, err error) {
	err = r.inTx(ctx, "agents", func(t tx) error {
		for _, id := range sorted(t.nodes) {
			list = append(list, nodes.Agent{ID: id, UUID: t.nodes[id].UUID, Endpoint: t.nodes[id].Endpoint, Alive: t.alive(t.nodes[id])})
		}
		return nil
	})
	return list, err
}

func (r rows) Reap(ctx context.Context, id int32, machine uuid.UUID, machines int, job jobs.New) (may, pending bool, err error) {
	err = r.inTx(ctx, "unit of work", func(t tx) (err error) {
		if may, pending, err = t.mayReap(ctx, id, machine, machines); err == nil && may {
			_, err = t.Enqueue(ctx, job)
		}
		return err
	})
	return may, pending, err
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

func (r rows) Begin(ctx context.Context, id int32, lately time.Duration) (since time.Time, quiet bool, err error) {
	err = r.inTx(ctx, "begin "+nodeKey(id), func(t tx) error {
		since, quiet = t.now(), true
		for _, h := range t.hosts {
			quiet = quiet && (h.NodeID != id || !h.changed.After(since.Add(-lately)))
		}
		for _, grave := range t.tombs {
			quiet = quiet && (grave.node != t.nodes[id].UUID.String() || !grave.at.After(since.Add(-lately)))
		}
		return nil
	})
	return since, quiet, err
}

var seenStates = []hosts.State{hosts.Active, hosts.Stopped, hosts.Crashed, hosts.Paused}

func (r rows) Observe(ctx context.Context, id int32, since time.Time, seen []hosts.Observation) (d hosts.Difference, err error) {
	err = r.inTx(ctx, "observe "+nodeKey(id), func(t tx) error {
		d = hosts.Difference{}
		for _, hostID := range sorted(t.hosts) {
			h, is := t.hosts[hostID], hosts.Crashed
			if i := slices.IndexFunc(seen, func(s hosts.Observation) bool { return s.UUID == h.UUID }); i >= 0 {
				is = seen[i].State
			}
			if h.NodeID != id || h.State == is {
				continue
			}
			if !h.changed.Before(since) || h.State != hosts.Unknown && !slices.Contains(seenStates, h.State) || len(t.in.Pending(hostKey(hostID))) > 0 {
				d.Left++
				continue
			}
			h.State, h.changed = is, t.now()
			set(t, t.hosts, hostID, h)
			d.Changed++
		}
		return nil
	})
	return d, err
}

func (r rows) LoseContact(ctx context.Context, id int32) error {
	return r.inTx(ctx, "lose sight "+nodeKey(id), func(t tx) error {
		for _, hostID := range sorted(t.hosts) {
			if h := t.hosts[hostID]; h.NodeID == id && slices.Contains(seenStates, h.State) {
				h.State, h.changed = hosts.Unknown, t.now()
				set(t, t.hosts, hostID, h)
			}
		}
		return nil
	})
}

func (r rows) Strangers(ctx context.Context, id int32, since time.Time, seen []hosts.Observation) (list []leftover.Stranger, err error) {
	err = r.inTx(ctx, "strangers "+nodeKey(id), func(t tx) error {
		for _, s := range seen {
			if t.isHost(s.UUID.String()) {
				continue
			}
			x := leftover.Stranger{Observation: s, Evidence: leftover.Evidence{
				Installation: t.installation, Node: t.nodes[id].UUID.String(), StackID: s.StackID, NodeID: s.NodeID, Fence: s.Fence,
			}}
			if grave, is := t.tombs[s.UUID]; is && grave.at.Before(since) {
				x.Tombstone, x.TombstoneNode, x.TombstoneFence = true, grave.node, grave.fence
			}
			list = append(list, x)
		}
		slices.SortFunc(list, func(a, b leftover.Stranger) int { return strings.Compare(a.UUID.String(), b.UUID.String()) })
		return nil
	})
	return list, err
}

// The bounds of a jump, as in the room node.
const (
	maxFenceJump = 1_000_000_000
	maxIDJump    = 1_000_000
	ahead        = 10_000
)

func (r rows) CatchUp(ctx context.Context, high int64, host int32) (jumped bool, err error) {
	id := int64(host)
	err = r.inTx(ctx, "catch up", func(t tx) error {
		fence, job := t.in.Numbers()
		fence, last, job := max(fence, 1), max(int64(t.lastHost), 1), max(job, 100001) // a sequence that was never asked says its first
		behind := fence < high && high-fence < maxFenceJump || last < id && id-last < maxIDJump
		if !behind || !t.jumpedAt.IsZero() && !t.jumpedAt.Before(t.now().Add(-time.Hour)) {
			return nil
		}
		t.jumpedAt, jumped = t.now(), true
		t.in.SetNumbers(max(fence, high)+ahead, job+ahead+10*max(0, int32(id-last)))
		t.lastHost = int32(max(last, id) + ahead)
		return nil
	})
	return jumped, err
}

func (r rows) KeepStrangers(ctx context.Context, id int32, list []leftover.Stranger, verdicts []leftover.Verdict) error {
	return r.inTx(ctx, "strangers of "+nodeKey(id), func(t tx) error {
		for k := range t.strangers {
			if k.node == id && !slices.ContainsFunc(list, func(x leftover.Stranger) bool { return x.UUID == k.machine }) {
				del(t, t.strangers, k)
			}
		}
		for i, x := range list {
			set(t, t.strangers, sightOn{id, x.UUID}, verdicts[i])
		}
		return nil
	})
}
