package simulate

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"slipway.dev/services/internal/modelnode"
	"slipway.dev/services/vm/internal/account"
	"slipway.dev/services/vm/internal/address"
	hosts "slipway.dev/services/vm/internal/host"
	"slipway.dev/services/vm/internal/leftover"
)

// order is the place of a command among all of its machine.
type order struct {
	fence int64
	step  int32
}

// check is what must hold after everything that happens.
func (w *world) check() {
	if len(w.broken) > 0 || !w.mem.changed {
		return // what follows from a broken promise says nothing new
	}
	w.mem.changed = false
	w.sayStates()
	w.checkMachines()
	w.checkCounters()
}

// sayStates logs which hosts are in another state than before.
func (w *world) sayStates() {
	for _, id := range sorted(w.mem.hosts) {
		if h := w.mem.hosts[id]; w.states[id] != h.State {
			w.states[id] = h.State
			w.say("%s is %s", h.Name, h.State)
		}
	}
}

func (w *world) checkMachines() {
	on := map[string]string{}
	for _, n := range w.nodes {
		for _, id := range sorted(n.node.Machines) {
			m, aside := n.node.Machines[id], w.aside(id)
			if other := on[id]; other != "" {
				w.break_("%s is on %s and on %s", id, other, n.name)
			}
			on[id] = n.name
			if _, buried := w.mem.tombs[uuid.MustParse(id)]; buried && !aside {
				w.break_("%s is on %s, and its host is gone", id, n.name)
			}
			for _, a := range m.Addresses {
				ip, _, _ := strings.Cut(a, "/")
				if owner := w.ip.owner(ip); m.Running && owner != id && !aside {
					w.break_("%s runs with %s, which is of %q", id, ip, owner)
				}
			}
		}
	}
}

// aside says that nothing is promised of a machine: it came from nowhere, or out of a backup.
func (w *world) aside(id string) bool {
	g := w.guestOf(id)
	return g != nil && g.aside
}

// checkCounters recounts.
func (w *world) checkCounters() {
	var used account.Usage
	type sold struct{ cpu, ram, disk int64 }
	on := map[int32]sold{}
	for _, h := range w.mem.hosts {
		disk, ipv4 := h.size()
		for i, n := range []int64{1, int64(h.CPUs), int64(h.RAM), disk, ipv4} {
			used[i] += n
		}
		s := on[h.NodeID]
		on[h.NodeID] = sold{s.cpu + int64(h.CPUs), s.ram + int64(h.RAM), s.disk + disk}
	}
	if l, there := w.mem.usage[1]; there && l.Used != used {
		w.break_("the account uses %v and is told %v", used, l.Used)
	}
	for _, id := range sorted(w.mem.nodes) {
		if n := w.mem.nodes[id]; (sold{n.cpu, n.ram, n.disk}) != on[id] {
			w.break_("of node %d %v is sold, and counted %v", id, on[id], sold{n.cpu, n.ram, n.disk})
		}
	}
}

// commanded looks at a command that was delivered: one that was overtaken does nothing, and what is destroyed was asked to be.
func (w *world) commanded(n *place, id string, at order, was modelnode.Machine, err error) {
	g := w.guestOf(id)
	if err == nil && g != nil && !g.aside {
		last := n.highest[id]
		if at.fence < last.fence || at.fence == last.fence && at.step < last.step {
			w.break_("%s: %d.%d came after %d.%d and was carried out", id, at.fence, at.step, last.fence, last.step)
		}
		n.highest[id] = at
	}
	if !was.Defined || n.node.Machines[id].Defined {
		return
	}
	n.removed[id] = was
	host, known := w.hostOf(id)
	grave, buried := w.mem.tombs[uuid.MustParse(id)]
	switch {
	case known && host.State == hosts.Deleting:
	case known && w.undoing(host.ID):
	case !known && buried && grave.node == n.node.ID:
	default:
		w.break_("%s was destroyed on %s, and nobody asked for that", id, n.name)
	}
}

func (w *world) guestOf(id string) *guest {
	for _, g := range w.guests {
		if g.uuid.String() == id {
			return g
		}
	}
	return nil
}

func (w *world) hostOf(id string) (host, bool) {
	for _, h := range w.mem.hosts {
		if h.UUID.String() == id {
			return h, true
		}
	}
	return host{}, false
}

// undoing says that the create of a host is being taken back.
func (w *world) undoing(id int32) bool {
	for _, j := range w.mem.jobs.Jobs() {
		if j.Key == hostKey(id) && j.Kind == "host_create" && j.State == "undoing" {
			return true
		}
	}
	return false
}

// judgeReap looks at a removal that vm begins by itself: there must be a proof, and not too many of them.
func (w *world) judgeReap(node int32, machine uuid.UUID) {
	if _, buried := w.mem.tombs[machine]; !buried {
		w.break_("%s is to be removed without a proof", machine)
	}
	w.begun = append(w.begun, reaped{node, machine, w.now()})
	count := 0
	for _, r := range w.begun {
		if r.node == node && r.at.After(w.reset[node]) && r.at.After(w.now().Add(-time.Hour)) {
			count++
		}
	}
	if limit := leftover.BreakerLimit(len(w.nodes[node-1].node.Machines)); count > limit {
		w.break_("%d removals from node %d within an hour, and the breaker opens at %d", count, node, limit)
	}
}

// rest checks what must hold when everything has ended: what is recorded is what is there.
func (w *world) rest() {
	failed := map[string]bool{}
	for _, j := range w.mem.jobs.Jobs() {
		if !j.State.Finished() {
			w.break_("task %d, %s of %s, does not end: %s", j.ID, j.Kind, j.Key, j.Error)
		}
		if j.Reason == modelnode.ErrStale.Reason || j.Reason == errRefused.Reason {
			w.break_("task %d, %s of %s, was decided by somebody who had lost it", j.ID, j.Kind, j.Key)
		}
		failed[j.Key] = failed[j.Key] || j.State == "failed"
	}
	for _, id := range sorted(w.mem.hosts) {
		if h := w.mem.hosts[id]; !w.aside(h.UUID.String()) {
			w.restHost(h, failed[hostKey(id)])
		}
	}
	for _, n := range w.nodes {
		for _, id := range sorted(n.node.Machines) {
			if _, is := w.hostOf(id); !is && !w.aside(id) {
				w.break_("%s is on %s, and no host is", id, n.name)
			}
		}
	}
	for _, a := range w.ip.list {
		if a.owner == "" || !a.until.IsZero() || w.aside(a.owner) {
			continue
		}
		h, is := w.hostOf(a.owner)
		if !is || !slices.ContainsFunc(h.addrs, func(x address.Address) bool { return x.IPID == a.id && x.Generation == a.generation }) {
			w.break_("%s is of %s, which does not use it", a.addr, a.owner)
		}
	}
	for _, name := range sorted(w.guests) {
		g := w.guests[name]
		if _, is := w.mem.hosts[g.id]; is && g.deleted {
			w.break_("%s is there, and its delete was accepted", name)
		}
	}
}

func (w *world) restHost(h host, failed bool) {
	n := w.nodes[h.NodeID-1]
	m := n.node.Machines[h.UUID.String()]
	is := map[bool]hosts.State{true: hosts.Active, false: hosts.Stopped}[m.Running]
	var want, have []string
	for _, a := range h.addrs {
		want = append(want, fmt.Sprintf("%s/%d", a.Addr, a.Prefix))
		if owner := w.ip.owner(a.Addr); owner != h.UUID.String() || a.State != address.Active {
			w.break_("%s uses %s, %s, which is of %q", h.Name, a.Addr, a.State, owner)
		}
	}
	have = append(have, m.Addresses...)
	slices.Sort(want)
	slices.Sort(have)
	switch {
	case !m.Defined:
		w.break_("%s is %s and has no machine on %s", h.Name, h.State, n.name)
	case h.State != is:
		w.break_("%s is %s and its machine %s", h.Name, h.State, is)
	case !failed && string(is) != h.Wanted:
		w.break_("%s shall be %s and is %s", h.Name, h.Wanted, is)
	case !slices.Equal(want, have):
		w.break_("%s has %v and its machine %v", h.Name, want, have)
	}
}

// restore puts back what a backup of a node's disk has.
func (w *world) restore(n *place) {
	fresh := n.node
	n.node = n.backup.Backup()
	for id := range n.node.Machines {
		w.put(id)
	}
	for id := range fresh.Machines {
		w.put(id)
	}
}

// revive puts back machines that were removed.
func (w *world) revive(n *place, count int) {
	for _, id := range sorted(n.removed) {
		if _, there := n.node.Machines[id]; count > 0 && !there {
			w.put(id)
			n.node.Machines[id] = n.removed[id]
			delete(n.removed, id)
			count--
		}
	}
}

// put sets a machine aside.
func (w *world) put(id string) {
	if g := w.guestOf(id); g != nil {
		g.aside = true
	}
}

// stray puts a machine on a node that came from nowhere.
func (w *world) stray(n *place, name string, m modelnode.Machine) {
	g := w.guests[name]
	if g == nil {
		g = &guest{name: name, uuid: uuid.NewSHA1(uuid.Nil, []byte(name))}
		w.guests[name], w.names[g.uuid.String()] = g, name
	}
	g.aside = true
	n.node.Machines[g.uuid.String()] = m
}
