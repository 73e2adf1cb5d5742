// Package fsck compares what vm has recorded with what is there: machines and files on the nodes, addresses at ip,
// counters, jobs and events. It only reads. At rest four sets are the same: hosts, machines, sets of disks, owners of
// addresses.
package fsck

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/uuid"

	"slipway.dev/pkg/fsck"
	"slipway.dev/services/vm/internal/host"
)

// World is what was read, within a moment.
type World struct {
	Hosts    []Recorded
	Disks    []Loose
	Traces   map[int32][]Trace  // by node; a node that did not answer has no entry
	Rules    map[int32][]string // by node: cards that have rules and no machine
	LeftOut  map[int32][]LeftOut
	Bridges  map[int32][]Bridge
	Held     []Held
	HeldSeen bool           // ip answered
	Accounts map[int32]bool // ids of those that exist; nil if auth did not answer
	Counters []Counter
}

// Trace is what there is of one machine on a node.
type Trace struct {
	UUID    uuid.UUID
	Defined bool
	Disks   []string
	Seed    bool
	Partial []string
}

// LeftOut is a template that a node works without.
type LeftOut struct{ File, Reason string }

// Bridge is what a bridge of a node has: addresses of the node and prefixes that are translated.
type Bridge struct {
	Name           string
	Addresses, NAT []netip.Prefix
}

// Held is an address that has an owner.
type Held struct {
	ID       int32
	Addr     string
	Owner    string
	Assigned bool
	Account  int32 // that it is booked for; 0 if unknown
}

// transitional are states that only a job leads out of.
var transitional = []string{
	string(host.Creating), string(host.Starting), string(host.Stopping), string(host.Deleting),
}

// Compare lists what does not fit. A host with a job under way is not looked at: its job makes it fit.
func Compare(w World) []fsck.Finding {
	c := &comparison{known: map[uuid.UUID]Recorded{}, loose: map[uuid.UUID]Loose{}}
	for _, h := range w.Hosts {
		c.known[h.UUID] = h
	}
	for _, d := range w.Disks {
		c.loose[d.UUID] = d
	}
	c.machines(w)
	c.templates(w)
	if w.HeldSeen {
		c.addresses(w)
		c.networks(w)
	}
	if w.Accounts != nil {
		c.owners(w)
	}
	for _, x := range w.Counters {
		c.add(counterWrong, x.Object+" "+x.Name, "says %d, counted are %d", x.Says, x.Counted)
	}
	return c.found
}

type comparison struct {
	known map[uuid.UUID]Recorded
	loose map[uuid.UUID]Loose // by their places
	found []fsck.Finding
}

func (c *comparison) add(kind, object, format string, args ...any) {
	c.found = append(c.found, fsck.Finding{Kind: kind, Object: object, Detail: fmt.Sprintf(format, args...)})
}

func diskName(d Loose) string { return fmt.Sprintf("disk %d", d.ID) }

func hostName(h Recorded) string { return fmt.Sprintf("host %d", h.ID) }

// owners lists the hosts whose account does not exist, also those with a job under way: no job gives a host an account.
func (c *comparison) owners(w World) {
	for _, h := range w.Hosts {
		if !w.Accounts[h.AccountID] {
			c.add(hostOwnerless, hostName(h), "belongs to account %d, which does not exist", h.AccountID)
		}
	}
	for _, d := range w.Disks {
		if !d.Busy && !w.Accounts[d.AccountID] {
			c.add(diskOwnerless, diskName(d), "belongs to account %d, which does not exist", d.AccountID)
		}
	}
}

// templates lists the templates that nodes leave out.
func (c *comparison) templates(w World) {
	for node, list := range w.LeftOut {
		for _, x := range list {
			c.add(templateBad, fmt.Sprintf("node %d template %s", node, x.File), "is left out: %s", x.Reason)
		}
	}
}

// networks lists what bridges have for networks in which no machine has an address that is recorded on their node or is there.
func (c *comparison) networks(w World) {
	of := c.held(w)
	for node, bridges := range w.Bridges {
		for _, b := range bridges {
			for _, x := range []struct {
				what string
				list []netip.Prefix
			}{{"has the address", b.Addresses}, {"translates", b.NAT}} {
				for _, p := range x.list {
					if !slices.ContainsFunc(of[node], p.Contains) {
						c.add(networkOrphan, fmt.Sprintf("node %d bridge %s", node, b.Name),
							"%s %s, and no host of the node has an address of this network", x.what, p)
					}
				}
			}
		}
	}
}

// held returns the addresses of the machines that are recorded on each node, or are there.
func (c *comparison) held(w World) map[int32][]netip.Addr {
	nodes := map[uuid.UUID][]int32{}
	for node, traces := range w.Traces {
		for _, t := range traces {
			nodes[t.UUID] = append(nodes[t.UUID], node)
		}
	}
	for _, h := range w.Hosts {
		nodes[h.UUID] = append(nodes[h.UUID], h.NodeID)
	}
	of := map[int32][]netip.Addr{}
	for _, a := range w.Held {
		owner, errOwner := uuid.Parse(a.Owner)
		addr, err := netip.ParseAddr(a.Addr)
		if errOwner != nil || err != nil {
			continue
		}
		for _, node := range nodes[owner] {
			of[node] = append(of[node], addr)
		}
	}
	return of
}

func (c *comparison) machines(w World) {
	there := map[uuid.UUID]Trace{} // on the node that the host or the disk is recorded on
	for node, traces := range w.Traces {
		for _, t := range traces {
			h, known := c.known[t.UUID]
			d, place := c.loose[t.UUID]
			switch {
			case place && d.NodeID != node && !d.Busy:
				c.add(diskOrphan, diskName(d), "is recorded on node %d, and on node %d is %s", d.NodeID, node, describe(t))
			case place:
				there[t.UUID] = t
			case !known:
				c.add(machineOrphan, "machine "+t.UUID.String(), "on node %d is %s; no host has this UUID", node, describe(t))
			case h.NodeID != node && !h.Busy:
				c.add(machineTwice, hostName(h), "is recorded on node %d, and on node %d is %s", h.NodeID, node, describe(t))
			case h.NodeID == node:
				there[t.UUID] = t
			}
		}
	}
	for node, cards := range w.Rules {
		for _, card := range cards {
			c.add(rulesOrphan, "card "+card, "has rules on node %d, and no machine", node)
		}
	}
	for _, h := range w.Hosts {
		if h.Busy {
			continue
		}
		if h.Unsettled {
			c.add(changeStuck, hostName(h), "has a change of its size that no task carries out, or room for one")
		}
		if slices.Contains(transitional, h.State) {
			c.add(hostStuck, hostName(h), "is %s, and no task of it is under way", h.State)
			continue
		}
		if _, seen := w.Traces[h.NodeID]; seen {
			c.machine(h, there[h.UUID])
		}
	}
	for _, d := range w.Disks {
		if _, seen := w.Traces[d.NodeID]; seen && !d.Busy {
			c.place(d, there[d.UUID])
		}
	}
}

// place compares a disk without a host with what lies in its place.
func (c *comparison) place(d Loose, t Trace) { c.files(diskName(d), d.NodeID, []string{d.Name}, t) }

// machine compares one host at rest with what its node has of it.
func (c *comparison) machine(h Recorded, t Trace) {
	if !t.Defined {
		c.add(machineMissing, hostName(h), "is %s, but node %d has no machine %s", h.State, h.NodeID, h.UUID)
	}
	c.files(hostName(h), h.NodeID, h.Disks, t)
	if t.Defined && !t.Seed {
		c.add(diskMissing, hostName(h)+" seed", "is not on node %d", h.NodeID)
	}
}

// files compares the disks that an object is recorded with, with the files that its node has of it.
func (c *comparison) files(object string, node int32, disks []string, t Trace) {
	for _, d := range disks {
		if !slices.Contains(t.Disks, d) {
			c.add(diskMissing, object+" "+d, "is not on node %d", node)
		}
	}
	for _, d := range t.Disks {
		if !slices.Contains(disks, d) {
			c.add(diskOrphan, object+" "+d, "is on node %d and not recorded", node)
		}
	}
	if len(t.Partial) > 0 {
		c.add(filePartial, object, "on node %d are %s", node, strings.Join(t.Partial, ", "))
	}
}

func describe(t Trace) string {
	var parts []string
	if t.Defined {
		parts = append(parts, "a machine")
	}
	if n := len(t.Disks); n > 0 {
		parts = append(parts, fmt.Sprintf("%d disks", n))
	}
	if t.Seed {
		parts = append(parts, "a seed")
	}
	if len(t.Partial) > 0 {
		parts = append(parts, "unfinished files")
	}
	if parts == nil {
		return "an empty directory"
	}
	return strings.Join(parts, ", ")
}

// addresses compares ip's owners with the addresses that hosts use. A reservation that no host has is not a finding: it
// belongs to a request under way, or lapses.
func (c *comparison) addresses(w World) {
	held := map[int32]Held{}
	for _, a := range w.Held {
		held[a.ID] = a
		owner, err := uuid.Parse(a.Owner)
		h, known := c.known[owner]
		switch {
		case err != nil || !known && a.Assigned:
			c.add(addressOrphan, "address "+a.Addr, "is held by %s, which is no host", a.Owner)
		case known && !h.Busy && !slices.Contains(h.Addresses, a.ID):
			c.add(addressOrphan, "address "+a.Addr, "is held by host %d, which does not use it", h.ID)
		}
	}
	for _, h := range w.Hosts {
		if h.Busy || slices.Contains(transitional, h.State) {
			continue
		}
		for _, id := range h.Addresses {
			switch a, ok := held[id]; {
			case !ok:
				c.add(addressMissing, fmt.Sprintf("%s address %d", hostName(h), id), "is free at ip")
			case a.Owner != h.UUID.String():
				c.add(addressMissing, hostName(h)+" address "+a.Addr, "belongs to %s", a.Owner)
			case a.Account != 0 && a.Account != h.AccountID:
				c.add(addressAccount, hostName(h)+" address "+a.Addr, "is booked for account %d, the host belongs to account %d", a.Account, h.AccountID)
			case !a.Assigned:
				c.add(addressMissing, hostName(h)+" address "+a.Addr, "is only reserved and will lapse")
			}
		}
	}
}
