package domain

import (
	"math/big"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"slipway.dev/pkg/fault"
)

// Network is a prefix that addresses come from.
type Network struct {
	ID      int32
	CIDR    netip.Prefix
	Gateway netip.Addr
	Note    string
	Used    int64 // addresses in use
}

// NewNetwork checks a new network. Without a gateway it is the first usable address.
func NewNetwork(cidr, gateway, note string) (Network, error) {
	p, err := parsePrefix(cidr)
	if err != nil {
		return Network{}, err
	}
	if p.IsSingleIP() {
		return Network{}, fault.Invalid.With("name: %s is a single address and has no room for a gateway beside a host", p).On("name")
	}
	n := Network{CIDR: p, Gateway: FirstUsable(p), Note: note}
	if gateway = strings.TrimSpace(gateway); gateway != "" {
		if n.Gateway, err = n.ParseGateway(gateway); err != nil {
			return Network{}, err
		}
	}
	return n, CheckNote(note)
}

// parsePrefix reads a prefix without host bits. It does not drop them: 192.0.2.5/24 may be a slip for 192.0.2.5/32 as
// well as for 192.0.2.0/24.
func parsePrefix(s string) (netip.Prefix, error) {
	s = strings.TrimSpace(s)
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil || p.Addr().Is4In6():
		return p, fault.Invalid.With("name: %q is not a network such as 192.0.2.0/24 or 2001:db8::/64", clip(s)).On("name")
	case p != p.Masked():
		return p, fault.Invalid.With("name: %s has bits set behind the prefix; the network is %s", p, p.Masked()).On("name")
	}
	return p, nil
}

// ParseGateway reads a gateway of the network.
func (n Network) ParseGateway(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(strings.TrimSpace(s))
	switch {
	case err != nil || a.Zone() != "":
		return a, fault.Invalid.With("gateway: %q is not an address", clip(s)).On("gateway")
	case !n.CIDR.Contains(a):
		return a, fault.Invalid.With("gateway: %s is not inside %s", a, n.CIDR).On("gateway")
	case Reserved(n.CIDR, a):
		return a, fault.Invalid.With("gateway: %s is the network's own or broadcast address", a).On("gateway")
	}
	return a, nil
}

// FirstUsable is the first address of p that a machine may have.
func FirstUsable(p netip.Prefix) netip.Addr {
	a := p.Masked().Addr()
	if Reserved(p, a) {
		return a.Next()
	}
	return a
}

// Reserved reports whether a is the network's own address or, for IPv4, the broadcast address. Networks of one or two
// addresses have neither.
func Reserved(p netip.Prefix, a netip.Addr) bool {
	if p.Bits() >= p.Addr().BitLen()-1 {
		return false
	}
	return a == p.Masked().Addr() || a.Is4() && a == last(p)
}

// Size is the number of addresses of p, as text: an IPv6 network has more than a number holds.
func Size(p netip.Prefix) string {
	return new(big.Int).Lsh(big.NewInt(1), uint(p.Addr().BitLen()-p.Bits())).String()
}

// Mask is "255.255.255.0" for IPv4 and the length of the prefix for IPv6.
func Mask(p netip.Prefix) string {
	if p.Addr().Is4() {
		return net.IP(net.CIDRMask(p.Bits(), 32)).String()
	}
	return strconv.Itoa(p.Bits())
}

// Family is 4 or 6.
func Family(a netip.Addr) int32 {
	if a.Is4() {
		return 4
	}
	return 6
}
