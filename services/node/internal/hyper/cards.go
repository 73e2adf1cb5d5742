package hyper

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"

	"github.com/google/uuid"
)

// Cards are the cards of all defined machines, and what they need of the bridges together. A change costs as much as
// the machine has cards, whatever the number of machines. The zero value has none. Not safe for many goroutines.
type Cards struct {
	machines map[uuid.UUID][]NIC
	bridges  map[string]*needs
}

// needs counts, for one bridge, the cards that need something of it.
type needs struct {
	addresses, nat map[netip.Prefix]int
	guests         map[netip.Addr]int
	unknown        int // cards that do not say what they need
}

// Set replaces the cards of a machine; a machine that is gone has none. Set returns the bridges concerned.
func (c *Cards) Set(machine uuid.UUID, cards []NIC) (bridges []string) {
	if c.machines == nil {
		c.machines, c.bridges = map[uuid.UUID][]NIC{}, map[string]*needs{}
	}
	for _, n := range c.machines[machine] {
		c.count(n, -1)
		bridges = append(bridges, n.Network)
	}
	for _, n := range cards {
		c.count(n, 1)
		bridges = append(bridges, n.Network)
	}
	if c.machines[machine] = cards; len(cards) == 0 {
		delete(c.machines, machine)
	}
	slices.Sort(bridges)
	return slices.Compact(bridges)
}

// Follow replaces the cards of a machine, as Set does, and returns the networks that must have something else now than they kept.
// When a machine is gone, or did not come, these are also networks that were asked for what no machine needs.
func (c *Cards) Follow(machine uuid.UUID, cards []NIC, kept map[string]Network) (names []string) {
	if names = c.Set(machine, cards); len(cards) == 0 {
		names = slices.Collect(maps.Keys(kept))
	}
	return slices.DeleteFunc(names, func(name string) bool {
		n, known := kept[name]
		return !known || c.Needs(Network{Name: name}, n).Equal(n)
	})
}

func (c *Cards) count(n NIC, by int) {
	b := c.bridges[n.Network]
	if b == nil {
		b = &needs{map[netip.Prefix]int{}, map[netip.Prefix]int{}, map[netip.Addr]int{}, 0}
		c.bridges[n.Network] = b
	}
	add(b.guests, n.Addresses, by)
	if n.NodeSide == nil {
		b.unknown += by
		return
	}
	add(b.addresses, n.NodeSide.Addresses, by)
	add(b.nat, n.NodeSide.NAT, by)
}

func add[K comparable](counts map[K]int, keys []K, by int) {
	for _, k := range keys {
		if counts[k] += by; counts[k] == 0 {
			delete(counts, k)
		}
	}
}

// Needs returns what the bridge of a request must have: what the request asks for, and what the machines on the bridge
// need. The node gives up an address that belongs to a machine or to the guest of the request. kept is what the bridge
// had: it stays as long as a machine on the bridge does not say what it needs.
func (c *Cards) Needs(asked, kept Network) Network {
	n := Network{Name: asked.Name, MTU: cmp.Or(asked.MTU, kept.MTU)}
	addresses, nat := asked.Addresses, asked.NAT
	b := c.bridges[asked.Name]
	if b == nil {
		b = &needs{}
	}
	if b.unknown > 0 {
		addresses, nat = slices.Concat(addresses, kept.Addresses), slices.Concat(nat, kept.NAT)
	}
	n.Addresses, n.NAT = union(addresses, b.addresses), union(nat, b.nat)
	n.Addresses = slices.DeleteFunc(n.Addresses, func(p netip.Prefix) bool {
		return b.guests[p.Addr()] > 0 || slices.Contains(asked.Guests, p.Addr())
	})
	return n
}

// union returns the prefixes of both, sorted, each once.
func union(list []netip.Prefix, counted map[netip.Prefix]int) []netip.Prefix {
	all := slices.AppendSeq(slices.Clone(list), maps.Keys(counted))
	slices.SortFunc(all, netip.Prefix.Compare)
	return slices.Compact(all)
}
