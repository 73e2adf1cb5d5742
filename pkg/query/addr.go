package query

import "net/netip"

// parseAddr reads an address without a zone, which PostgreSQL's inet does not have.
func parseAddr(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	return a.WithZone("").Unmap(), err
}
