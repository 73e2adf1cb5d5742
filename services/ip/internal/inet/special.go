package inet

import (
	"net/netip"

	"go4.org/netipx"

	"slipway.dev/pkg/fault"
)

// block is a part of the address space that is not for hosts.
type block struct {
	prefix netip.Prefix
	use    string
	local  bool // hosts reach routers and servers there, on their own link
}

// notForHosts are the blocks from which no host has an address, by IANA's registries of special-purpose addresses and
// of the IPv6 address space. Private, shared, benchmarking and documentation addresses are for hosts. Of two blocks
// that overlap the first has the more exact use.
var notForHosts = []block{
	{netip.MustParsePrefix("0.0.0.0/8"), "this network", false},
	{netip.MustParsePrefix("127.0.0.0/8"), "loopback", false},
	{netip.MustParsePrefix("169.254.0.0/16"), "link-local", true},
	{netip.MustParsePrefix("192.0.0.0/24"), "protocols of the IETF", false},
	{netip.MustParsePrefix("192.88.99.0/24"), "6to4 relays", false},
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast", false},
	{netip.MustParsePrefix("240.0.0.0/4"), "reserved", false},

	{netip.MustParsePrefix("::1/128"), "loopback", false},
	{netip.MustParsePrefix("::ffff:0:0/96"), "IPv4 written as IPv6", false},
	{netip.MustParsePrefix("64:ff9b::/96"), "IPv4 behind a translator", false},
	{netip.MustParsePrefix("64:ff9b:1::/48"), "IPv4 behind a translator", false},
	{netip.MustParsePrefix("100::/64"), "discard", false},
	{netip.MustParsePrefix("::/3"), "reserved", false},
	{netip.MustParsePrefix("2001::/32"), "Teredo", false},
	{netip.MustParsePrefix("2001:1::/32"), "protocols of the IETF", false},
	{netip.MustParsePrefix("2001:10::/28"), "identifiers", false},
	{netip.MustParsePrefix("2001:20::/28"), "identifiers", false},
	{netip.MustParsePrefix("2001:30::/28"), "identifiers", false},
	{netip.MustParsePrefix("5f00::/16"), "segments of routes", false},
	{netip.MustParsePrefix("4000::/2"), "reserved", false},
	{netip.MustParsePrefix("8000::/2"), "reserved", false},
	{netip.MustParsePrefix("c000::/3"), "reserved", false},
	{netip.MustParsePrefix("e000::/4"), "reserved", false},
	{netip.MustParsePrefix("f000::/5"), "reserved", false},
	{netip.MustParsePrefix("f800::/6"), "reserved", false},
	{netip.MustParsePrefix("fe80::/10"), "link-local", true},
	{netip.MustParsePrefix("fec0::/10"), "site-local, which ended", false},
	{netip.MustParsePrefix("fe00::/9"), "reserved", false},
	{netip.MustParsePrefix("ff00::/8"), "multicast", false},
}

// CheckHosts refuses a range with an address that no host may have. field is the field of the request that names it.
func CheckHosts(field string, r Range) error {
	all := netipx.IPRangeFrom(r.First, r.Last)
	for _, b := range notForHosts {
		if all.Overlaps(netipx.RangeOfPrefix(b.prefix)) {
			return fault.Invalid.With("%s is not for hosts: %s is %s", r.Name, b.prefix, b.use).On(field)
		}
	}
	return nil
}

// CheckNetwork is CheckHosts for all addresses of a network.
func CheckNetwork(field string, p netip.Prefix) error {
	all := netipx.RangeOfPrefix(p)
	return CheckHosts(field, Range{First: all.From(), Last: all.To(), Name: p.String()})
}

// CheckContainer refuses a network in which no other network could have addresses of hosts.
func CheckContainer(field string, p netip.Prefix) error {
	for _, b := range notForHosts {
		if b.prefix.Bits() <= p.Bits() && b.prefix.Contains(p.Addr()) {
			return fault.Invalid.With("%s is not for hosts: %s is %s", p, b.prefix, b.use).On(field)
		}
	}
	return nil
}

// CheckPeer refuses an address at which no host finds a router or a name server. Such an address may be link-local.
func CheckPeer(field string, a netip.Addr) error {
	for _, b := range notForHosts {
		if b.prefix.Contains(a) {
			if b.local {
				return nil
			}
			return fault.Invalid.With("%s is no address that a host can reach: %s is %s", a, b.prefix, b.use).On(field)
		}
	}
	return nil
}

// Text returns an address as the API shows it, and "" for the zero Addr.
func Text(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}
