package bridge_test

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/nftables"
	"github.com/google/uuid"
	"github.com/vishvananda/netlink"

	"slipway.dev/pkg/fault"
	"slipway.dev/services/node/internal/bridge"
	"slipway.dev/services/node/internal/hyper"
)

// guest is a card of a machine whose gateway is on the node.
func guest(network, addr, gateway string) []hyper.NIC {
	p := netip.MustParsePrefix(gateway)
	return []hyper.NIC{{
		Network: network, Addresses: []netip.Addr{netip.MustParseAddr(addr)},
		NodeSide: &hyper.NodeSide{Addresses: []netip.Prefix{p}, NAT: []netip.Prefix{p.Masked()}},
	}}
}

// asks returns what a job asks for before it defines the machine.
func asks(cards []hyper.NIC) hyper.Network {
	n := cards[0]
	return hyper.Network{Name: n.Network, Addresses: n.NodeSide.Addresses, NAT: n.NodeSide.NAT, Guests: n.Addresses}
}

// create does what a job does with the bridges for a new machine.
func create(t *testing.T, b *bridge.Bridges, cards []hyper.NIC) uuid.UUID {
	t.Helper()
	id := uuid.New()
	ok(t, b.Ensure(asks(cards)))
	ok(t, b.Use(id, cards))
	return id
}

func expect(t *testing.T, when, name string, translated int, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, addrs(t, name)); diff != "" {
		t.Errorf("%s the bridge has (-want +got):\n%s", when, diff)
	}
	if p := rules(t, nftables.TableFamilyINet, hyper.NFTable("n"), "postrouting"); p != translated {
		t.Errorf("%s there are %d translations, want %d", when, p, translated)
	}
}

// by returns the name of the link by which the kernel sends packets to an address.
func by(t *testing.T, addr string) string {
	t.Helper()
	routes, err := netlink.RouteGet(netip.MustParseAddr(addr).AsSlice())
	ok(t, err)
	l, err := netlink.LinkByIndex(routes[0].LinkIndex)
	ok(t, err)
	return l.Attrs().Name
}

// uplink makes a link of the node with an address, and a default route by router.
func uplink(t *testing.T, name, addr, router string) {
	t.Helper()
	la := netlink.NewLinkAttrs()
	la.Name = name
	l := &netlink.Bridge{LinkAttrs: la}
	ok(t, netlink.LinkAdd(l))
	t.Cleanup(func() { _ = netlink.LinkDel(l) })
	a, err := netlink.ParseAddr(addr)
	ok(t, err)
	ok(t, netlink.AddrAdd(l, a))
	ok(t, netlink.LinkSetUp(l))
	ok(t, netlink.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Gw: netip.MustParseAddr(router).AsSlice()}))
}

// TestGatewayMoves: an old gateway is the node's as long as a machine uses it, and no longer when the address belongs to
// a machine.
func TestGatewayMoves(t *testing.T) {
	root := t.TempDir()
	b := open(t, root, "n")
	name := hyper.BridgeName("n", 0)
	one := create(t, b, guest(name, "10.201.7.2", "10.201.7.1/24"))
	two := create(t, b, guest(name, "10.201.7.3", "10.201.7.254/24")) // after the change
	expect(t, "while one machine uses the old gateway", name, 1, "10.201.7.1/24", "10.201.7.254/24")
	moved := guest(name, "10.201.7.2", "10.201.7.254/24") // one is started again
	ok(t, b.Ensure(asks(moved)))
	ok(t, b.Use(one, moved))
	expect(t, "after the restart", name, 1, "10.201.7.254/24")

	ok(t, b.Use(one, guest(name, "10.201.7.2", "10.201.7.1/24"))) // as if one had not been started again
	heir := guest(name, "10.201.7.1", "10.201.7.254/24")
	ok(t, b.Ensure(asks(heir)))
	expect(t, "before a machine gets the old gateway's address", name, 1, "10.201.7.254/24")
	three := uuid.New()
	ok(t, b.Use(three, heir))
	ok(t, b.Use(two, nil))
	expect(t, "while a machine has the old gateway's address", name, 1, "10.201.7.254/24")
	ok(t, b.Use(one, nil))
	ok(t, b.Use(three, nil))
}

// TestNetworkEnds: addresses, route and translation of a network go with its last machine, also when the agent was
// killed in between, and the prefix can be reached elsewhere.
func TestNetworkEnds(t *testing.T) {
	uplink(t, "tup0", "192.0.2.10/24", "192.0.2.1")
	name := hyper.BridgeName("n", 0)
	for _, killed := range []string{"", "before the removal", "after the definition was gone"} {
		root := t.TempDir()
		b, err := bridge.Open(root, "n")
		ok(t, err)
		stays := guest(name, "10.55.0.2", "10.55.0.1/24")
		gone := guest(name, "10.201.7.2", "10.201.7.1/24")
		left := map[uuid.UUID][]hyper.NIC{create(t, b, stays): stays}
		id := create(t, b, gone)
		if by(t, "10.201.7.9") != name {
			t.Fatal("the bridge does not carry the network")
		}
		switch killed {
		case "before the removal":
			b, err = bridge.Open(root, "n")
			ok(t, err)
			left[id] = gone
			ok(t, b.Load(left))
			expect(t, "after a restart", name, 2, "10.201.7.1/24", "10.55.0.1/24")
			ok(t, b.Use(id, nil))
		case "after the definition was gone":
			b, err = bridge.Open(root, "n")
			ok(t, err)
			ok(t, b.Load(left))
		default:
			ok(t, b.Use(id, nil))
		}
		expect(t, "killed "+killed, name, 1, "10.55.0.1/24")
		if got := by(t, "10.201.7.9"); got != "tup0" {
			t.Errorf("killed %s: the ended network is reached by %s", killed, got)
		}
		for id := range left {
			ok(t, b.Use(id, nil))
		}
		expect(t, "without machines", name, 0)
		ok(t, b.Close())
	}
}

// TestOlderDefinitions: a machine that was defined by an older agent keeps what its bridge had.
func TestOlderDefinitions(t *testing.T) {
	root := t.TempDir()
	b := open(t, root, "n")
	name := hyper.BridgeName("n", 0)
	old := []hyper.NIC{{Network: name, Addresses: []netip.Addr{netip.MustParseAddr("10.3.0.5")}}}
	ok(t, b.Ensure(asks(guest(name, "10.3.0.5", "10.3.0.1/24"))))
	id := uuid.New()
	ok(t, b.Use(id, old))
	expect(t, "of an old machine", name, 1, "10.3.0.1/24")
	b = open(t, root, "n")
	ok(t, b.Load(map[uuid.UUID][]hyper.NIC{id: old}))
	other := create(t, b, guest(name, "10.4.0.5", "10.4.0.1/24"))
	expect(t, "of an old and a new machine", name, 2, "10.3.0.1/24", "10.4.0.1/24")
	ok(t, b.Use(id, guest(name, "10.3.0.5", "10.3.0.1/24")))
	ok(t, b.Use(other, nil))
	expect(t, "of a machine that was started again", name, 1, "10.3.0.1/24")
	ok(t, b.Use(id, nil))
}

// TestNodesOwn: the node takes no network that it is in by another link, and gives none of its own addresses away.
func TestNodesOwn(t *testing.T) {
	uplink(t, "tup1", "192.0.2.10/24", "192.0.2.1")
	single, err := netlink.ParseAddr("100.64.9.9/32")
	ok(t, err)
	l, err := netlink.LinkByName("tup1")
	ok(t, err)
	ok(t, netlink.AddrAdd(l, single))
	six, err := netlink.ParseAddr("2001:db8:7::10/64")
	ok(t, err)
	ok(t, netlink.AddrAdd(l, six))
	b := open(t, t.TempDir(), "n")
	name := hyper.BridgeName("n", 0)
	other := open(t, t.TempDir(), "another")
	ok(t, other.Ensure(hyper.Network{Name: hyper.BridgeName("another", 0), Addresses: []netip.Prefix{netip.MustParsePrefix("10.8.0.1/24")}}))
	for _, tt := range []struct {
		name             string
		guest, gateway   string
		want             error
		field, forbidden string
	}{
		{"the uplink's own network", "192.0.2.20", "192.0.2.1/24", hyper.ErrNodeNetwork, "addresses[0]", "192.0.2.1"},
		{"a part of it", "192.0.2.20", "192.0.2.17/28", hyper.ErrNodeNetwork, "addresses[0]", "192.0.2.17"},
		{"a network round it", "192.0.3.20", "192.0.3.1/16", hyper.ErrNodeNetwork, "addresses[0]", "192.0.3.1"},
		{"IPv6", "2001:db8:7::20", "2001:db8:7::1/64", hyper.ErrNodeNetwork, "addresses[0]", "2001:db8:7::1"},
		{"the node's address as gateway", "100.64.9.8", "100.64.9.9/24", hyper.ErrNodeNetwork, "addresses[0]", ""},
		{"the node's address as guest", "100.64.9.9", "100.64.9.1/24", hyper.ErrNodeAddress, "guests[0]", "100.64.9.1"},
		{"round a single address", "100.64.9.8", "100.64.9.1/24", nil, "", ""},
		{"a network of another stack", "10.8.0.7", "10.8.0.1/24", nil, "", ""},
		{"another network", "10.1.0.7", "10.1.0.1/24", nil, "", ""},
	} {
		err := b.Ensure(asks(guest(name, tt.guest, tt.gateway)))
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
		if f, _ := fault.From(err); tt.want != nil && (f == nil || f.Field != tt.field) {
			t.Errorf("%s: on %q", tt.name, f.Field)
		}
		if tt.forbidden != "" && by(t, tt.forbidden) == "lo" {
			t.Errorf("%s: the node answers for %s", tt.name, tt.forbidden)
		}
	}
	// A router outside of the node: the guest may be in the uplink's network, but for the node's own addresses.
	ok(t, b.Ensure(hyper.Network{Name: name, Guests: []netip.Addr{netip.MustParseAddr("192.0.2.20")}}))
	err = b.Ensure(hyper.Network{Name: name, Guests: []netip.Addr{netip.MustParseAddr("192.0.2.20"), netip.MustParseAddr("192.0.2.10")}})
	if f, _ := fault.From(err); f == nil || !errors.Is(err, hyper.ErrNodeAddress) || f.Field != "guests[1]" {
		t.Errorf("the node's address in a network with another router: %v", err)
	}
}
