// Package introspect turns a credential that a client sent into a signed identity.
package introspect

import (
	"net/netip"
	"slices"
	"time"

	"slipway.dev/pkg/identity"
)

// limit is what a credential is limited to, whatever its account may do.
type limit struct {
	scopes []string         // nil: not limited
	cidrs  [][]netip.Prefix // it is good from addresses that are in each of them
}

// limitOf returns the limit of a credential with the scopes and networks of itself and of each of its makers. No scopes (nil) and
// no networks limit nothing.
func limitOf(scopes [][]string, cidrs [][]netip.Prefix) (l limit) {
	for _, s := range scopes {
		l.scopes = both(l.scopes, s)
	}
	for _, c := range cidrs {
		if len(c) > 0 {
			l.cidrs = append(l.cidrs, c)
		}
	}
	return l
}

// admits reports whether the credential may be used from this address. A credential that is bound to networks is
// refused where the address is not known.
func (l limit) admits(ip string) bool {
	if len(l.cidrs) == 0 {
		return true
	}
	a, err := netip.ParseAddr(ip)
	if err != nil {
		return false
	}
	a = a.Unmap().WithZone("")
	for _, networks := range l.cidrs {
		if !slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(a) }) {
			return false
		}
	}
	return true
}

// both returns the scopes that are in two limits; nil is not limited.
func both(a, b []string) []string {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	left := []string{}
	for _, s := range a {
		if slices.Contains(b, s) {
			left = append(left, s)
		}
	}
	return left
}

// lease returns how long an identity signed now may live, when its credential lives for left; nil is without end. It
// bounds how long a service that misses a revocation goes on to accept the identity.
func lease(left *time.Duration) time.Duration {
	if left == nil {
		return identity.MaxLife
	}
	return min(identity.MaxLife, *left)
}
