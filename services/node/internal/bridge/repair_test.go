package bridge_test

import (
	"net"
	"net/netip"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/nftables"
	"github.com/vishvananda/netlink"

	"slipway.dev/services/node/internal/bridge"
	"slipway.dev/services/node/internal/hyper"
)

// theft is what another program does to a network.
type theft struct {
	name  string
	steal func(t *testing.T, table string, link netlink.Link)
	want  hyper.Repairs
	mends bool // the guard of the running machine's card
}

func nft(t *testing.T, change func(c *nftables.Conn)) {
	t.Helper()
	c, err := nftables.New()
	ok(t, err)
	change(c)
	ok(t, c.Flush())
}

// firstRule removes the first rule of a chain.
func firstRule(t *testing.T, family nftables.TableFamily, table, chain string) {
	t.Helper()
	nft(t, func(c *nftables.Conn) {
		tab := &nftables.Table{Family: family, Name: table}
		list, err := c.GetRules(tab, &nftables.Chain{Table: tab, Name: chain})
		ok(t, err)
		ok(t, c.DelRule(list[0]))
	})
}

var thefts = []theft{
	{"nothing", func(*testing.T, string, netlink.Link) {}, hyper.Repairs{}, false},
	{"flush ruleset", func(t *testing.T, _ string, _ netlink.Link) {
		nft(t, func(c *nftables.Conn) { c.FlushRuleset() })
	}, hyper.Repairs{"rules": 1}, true},
	{"delete table inet", func(t *testing.T, table string, _ netlink.Link) {
		nft(t, func(c *nftables.Conn) { c.DelTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: table}) })
	}, hyper.Repairs{"rules": 1}, false},
	{"flush table inet", func(t *testing.T, table string, _ netlink.Link) {
		nft(t, func(c *nftables.Conn) { c.FlushTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: table}) })
	}, hyper.Repairs{"rules": 1}, false},
	{"delete one translation", func(t *testing.T, table string, _ netlink.Link) {
		firstRule(t, nftables.TableFamilyINet, table, "postrouting")
	}, hyper.Repairs{"rules": 1}, false},
	{"delete one guard rule", func(t *testing.T, table string, _ netlink.Link) {
		firstRule(t, nftables.TableFamilyBridge, table, "tmend")
	}, hyper.Repairs{}, true},
	{"delete the guard's entry", func(t *testing.T, table string, _ netlink.Link) {
		firstRule(t, nftables.TableFamilyBridge, table, "guard")
	}, hyper.Repairs{}, true},
	{"empty the guard's map", func(t *testing.T, table string, _ netlink.Link) {
		nft(t, func(c *nftables.Conn) {
			c.FlushSet(&nftables.Set{Table: &nftables.Table{Family: nftables.TableFamilyBridge, Name: table}, Name: "taps"})
		})
	}, hyper.Repairs{}, true},
	{"remove an address", func(t *testing.T, _ string, link netlink.Link) {
		list, err := netlink.AddrList(link, netlink.FAMILY_V4)
		ok(t, err)
		ok(t, netlink.AddrDel(link, &list[0]))
	}, hyper.Repairs{"bridge": 1}, false},
	{"add an address", func(t *testing.T, _ string, link netlink.Link) {
		ok(t, netlink.AddrAdd(link, &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(203, 0, 113, 9), Mask: net.CIDRMask(24, 32)}}))
	}, hyper.Repairs{}, false},
	{"set down", func(t *testing.T, _ string, link netlink.Link) {
		ok(t, netlink.LinkSetDown(link))
	}, hyper.Repairs{"bridge": 1}, false},
	{"end forwarding", func(t *testing.T, _ string, _ netlink.Link) {
		ok(t, os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("0"), 0))
	}, hyper.Repairs{"forwarding": 1}, false},
	{"delete the bridge", func(t *testing.T, _ string, link netlink.Link) {
		ok(t, netlink.LinkDel(link))
	}, hyper.Repairs{"bridge": 1}, false},
}

// TestRepair: what another program takes from networks and guards comes back with the next look, and with the next
// Ensure of the same network.
func TestRepair(t *testing.T) {
	table := hyper.NFTable("m")
	n := hyper.Network{
		Name:      hyper.BridgeName("m", 1),
		Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")},
		NAT:       []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
	}
	nic := hyper.NIC{AntiSpoofing: true, MAC: net.HardwareAddr{0x52, 0x54, 0, 0, 0, 1}, Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.7")}}
	for _, by := range []string{"repair", "ensure"} {
		b := open(t, t.TempDir(), "m")
		ok(t, b.Ensure(n))
		ok(t, b.Guard("tmend", nic))
		for _, tt := range thefts {
			link, err := netlink.LinkByName(n.Name)
			ok(t, err)
			tt.steal(t, table, link)
			if by == "ensure" {
				ok(t, b.Ensure(n))
			} else if got, err := b.Repair(); err != nil || !cmp.Equal(got, tt.want) {
				t.Errorf("%s: put back %v %v, want %v", tt.name, got, err, tt.want)
			}
			if got := mend(t, b, nic); got != tt.mends {
				t.Errorf("%s: the guard was mended: %v", tt.name, got)
			}
			sound(t, b, n, nic, by+" after "+tt.name)
		}
		ok(t, b.Unguard("tmend"))
		ok(t, b.Close())
	}
}

func mend(t *testing.T, b *bridge.Bridges, nic hyper.NIC) bool {
	t.Helper()
	seen, err := b.Guards()
	ok(t, err)
	mended, err := b.Mend(seen, "tmend", nic)
	ok(t, err)
	return mended
}

// sound checks that the network and the guard are whole.
func sound(t *testing.T, b *bridge.Bridges, n hyper.Network, nic hyper.NIC, when string) {
	t.Helper()
	if diff := cmp.Diff([]string{"192.0.2.1/24"}, addrs(t, n.Name)); diff != "" {
		t.Errorf("%s: addresses %s", when, diff)
	}
	ok(t, b.Check(n.Name))
	table := hyper.NFTable("m")
	f, p := rules(t, nftables.TableFamilyINet, table, "forward"), rules(t, nftables.TableFamilyINet, table, "postrouting")
	g, own := rules(t, nftables.TableFamilyBridge, table, "guard"), rules(t, nftables.TableFamilyBridge, table, "tmend")
	if f != 2 || p != 1 || g != 1 || own < 5 {
		t.Errorf("%s: %d forward, %d postrouting, %d guard and %d own rules", when, f, p, g, own)
	}
	if have, err := os.ReadFile("/proc/sys/net/ipv4/ip_forward"); err != nil || have[0] != '1' {
		t.Errorf("%s: ip_forward is %q %v", when, have, err)
	}
	if got, err := b.Repair(); err != nil || len(got) > 0 {
		t.Errorf("%s: a second look put back %v %v", when, got, err)
	}
	if mend(t, b, nic) {
		t.Errorf("%s: a second look mended the guard", when)
	}
}

// TestPlug: a tap that has lost its bridge is plugged in again, once.
func TestPlug(t *testing.T) {
	b := open(t, t.TempDir(), "p")
	n := hyper.Network{Name: hyper.BridgeName("p", 1)}
	ok(t, b.Ensure(n))
	port := plug(t, "tplug", n.Name)
	defer func() { ok(t, netlink.LinkDel(port)) }()
	for i, want := range []bool{false, true, false} {
		if i == 1 {
			ok(t, netlink.LinkSetNoMaster(port))
		}
		if got, err := b.Plug("tplug", n.Name); err != nil || got != want {
			t.Errorf("look %d plugged in: %v %v, want %v", i, got, err, want)
		}
	}
	if got, err := b.Plug("nothing", n.Name); err != nil || got {
		t.Errorf("a tap that is not there: %v %v", got, err)
	}
}
