// Package inet parses addresses, prefixes and ranges of addresses, and computes with them.
package inet

import (
	"math/big"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"slipway.dev/pkg/clamp"
	"slipway.dev/pkg/fault"
)

// ParsePrefix reads a prefix. It refuses host bits instead of dropping them: 192.0.2.5/24 may be a slip for
// 192.0.2.5/32 as well as for 192.0.2.0/24.
func ParsePrefix(s string) (netip.Prefix, error) {
	s = strings.TrimSpace(s)
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil || p.Addr().Is4In6():
		return p, fault.Invalid.With("%q is not a network such as 192.0.2.0/24 or 2001:db8::/64", fault.Clip(s)).On("name")
	case p != p.Masked():
		return p, fault.Invalid.With("%s has host bits set; the network is %s", p, p.Masked()).On("name")
	}
	return p, nil
}

// FirstUsable returns the first address of p that a machine may have.
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

// Size returns the number of addresses of p as text, because an IPv6 network has more than an integer holds.
func Size(p netip.Prefix) string {
	return new(big.Int).Lsh(big.NewInt(1), clamp.Uint(p.Addr().BitLen()-p.Bits())).String()
}

// Mask returns a mask such as "255.255.255.0" for IPv4 and the length of the prefix for IPv6.
func Mask(p netip.Prefix) string {
	if p.Addr().Is4() {
		return net.IP(net.CIDRMask(p.Bits(), 32)).String()
	}
	return strconv.Itoa(p.Bits())
}

// Family returns 4 or 6.
func Family(a netip.Addr) int32 {
	if a.Is4() {
		return 4
	}
	return 6
}

// ParseAddress reads the address in a field of a request.
func ParseAddress(field, s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(strings.TrimSpace(s))
	if err != nil || isOdd(a) {
		return a, fault.Invalid.With("%q is not an address", fault.Clip(s)).On(field)
	}
	return a, nil
}
