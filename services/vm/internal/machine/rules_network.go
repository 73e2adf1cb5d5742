package machine

import (
	"fmt"
	"net/netip"
	"slices"

	"slipway.dev/pkg/fault"
	"slipway.dev/services/vm/internal/address"
)

// NodeHas is the error of a step when the node itself has an address of the host.
type NodeHas struct {
	Address address.Address
	Cause   error
}

// Error returns the text of the agent's refusal.
func (n *NodeHas) Error() string { return n.Cause.Error() }

// Unwrap returns the agent's refusal.
func (n *NodeHas) Unwrap() error { return n.Cause }

// whose returns err, as a *NodeHas if the agent has refused one of these addresses because the node itself has it.
func whose(err error, guests []address.Address) error {
	f, ok := fault.From(err)
	if !ok || f.Reason != "NODE_HAS_ADDRESS" {
		return err
	}
	for i, a := range guests {
		if f.Field == fmt.Sprintf("guests[%d]", i) {
			return &NodeHas{a, err}
		}
	}
	return err
}

// onNode returns the address with its prefix that the bridge of a node needs for a host's address: the gateway of the
// network. ok is false for a gateway that is another router: one on the link, or one outside the network.
func onNode(a address.Address) (gateway netip.Prefix, ok bool) {
	gw, err := netip.ParseAddr(a.Gateway)
	if err != nil {
		return netip.Prefix{}, false
	}
	addr, err := netip.ParseAddr(a.Addr)
	if err != nil {
		return netip.Prefix{}, false
	}
	network, err := addr.Prefix(int(a.Prefix))
	if err != nil || gw.IsLinkLocalUnicast() || !network.Contains(gw) {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(gw, int(a.Prefix)), true
}

// special are the special-purpose prefixes that are not globally reachable (RFC 6890 and IANA's registries after it).
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("100::/64"), netip.MustParsePrefix("2001:2::/48"),
	netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("3fff::/20"), netip.MustParsePrefix("5f00::/16"),
	netip.MustParsePrefix("fc00::/7"), netip.MustParsePrefix("fec0::/10"),
}

// isGlobal reports whether an address can be reached from outside.
func isGlobal(a netip.Addr) bool {
	return !slices.ContainsFunc(special, func(p netip.Prefix) bool { return p.Contains(a) })
}

// publicDNS are name servers of each family, for a machine whose own name servers are all of the other one.
var publicDNS = map[int32]string{4: "1.1.1.1", 6: "2606:4700:4700::1111"}

// reachable adds a name server to list if the machine has addresses but can reach none of the servers: those of a family
// that it has no address of are out of its reach.
func reachable(list []string, addresses []address.Address) []string {
	if len(addresses) == 0 {
		return list
	}
	has := func(family int32) bool {
		return slices.ContainsFunc(addresses, func(a address.Address) bool { return a.Family == family })
	}
	for _, text := range list {
		d, err := netip.ParseAddr(text)
		if err == nil && (d.Is4() && has(4) || d.Is6() && has(6)) {
			return list
		}
	}
	return append(slices.Clone(list), publicDNS[addresses[0].Family])
}
