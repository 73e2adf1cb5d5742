package domain

import (
	"net/netip"
	"slices"
)

// Limit is what a credential is limited to, whatever its account may do.
type Limit struct {
	Scopes []string       // nil: not limited
	CIDRs  []netip.Prefix // none: good from anywhere
}

// Admits reports whether the credential may be used from this address. What is bound to networks is no good from an address
// that nobody knows.
func (l Limit) Admits(ip string) bool {
	if len(l.CIDRs) == 0 {
		return true
	}
	a, err := netip.ParseAddr(ip)
	if err != nil {
		return false
	}
	a = a.Unmap().WithZone("")
	return slices.ContainsFunc(l.CIDRs, func(p netip.Prefix) bool { return p.Contains(a) })
}

// Both are the scopes that two limits leave.
func Both(a, b Limit) []string {
	switch {
	case a.Scopes == nil:
		return b.Scopes
	case b.Scopes == nil:
		return a.Scopes
	}
	left := []string{}
	for _, s := range a.Scopes {
		if slices.Contains(b.Scopes, s) {
			left = append(left, s)
		}
	}
	return left
}
