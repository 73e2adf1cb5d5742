package fetch

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
)

// notPublic are networks that are not the internet, beside those that netip knows: addresses for tests and documentation, shared
// ones behind a provider's NAT, and those of IPv6 that stand for an IPv4 address or lead to one through a gateway. (IANA's
// special-purpose address registries.)
var notPublic = prefixes(
	"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24",
	"203.0.113.0/24", "240.0.0.0/4",
	"::/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16", "fec0::/10",
)

func prefixes(texts ...string) []netip.Prefix {
	list := make([]netip.Prefix, len(texts))
	for i, t := range texts {
		list[i] = netip.MustParsePrefix(t)
	}
	return list
}

// public reports whether an address is one of the internet's.
func public(a netip.Addr) bool {
	return a.IsGlobalUnicast() && !a.IsPrivate() && !within(notPublic, a)
}

func within(list []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(a) })
}

// control refuses a connection to an address that may not be reached. It is called with the address itself, after the name was
// looked up: a name that leads elsewhere the second time is refused then.
func (c *Client) control(_, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %s is no address", errReach, address)
	}
	a := ap.Addr().Unmap().WithZone("")
	if within(c.allow, a) {
		return nil
	}
	if !public(a) || ap.Addr().Zone() != "" {
		return fmt.Errorf("%w: %s is not public", errReach, a)
	}
	if own, err := isOwn(a); own || err != nil {
		return fmt.Errorf("%w: %s is this machine's own: %w", errReach, a, err)
	}
	return nil
}

// isOwn reports whether an address is one of this machine's.
func isOwn(a netip.Addr) (bool, error) {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(list, func(x net.Addr) bool {
		p, err := netip.ParsePrefix(x.String())
		return err == nil && p.Addr().Unmap() == a
	}), nil
}
