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
	scopes []string       // nil: not limited
	cidrs  []netip.Prefix // none: good from anywhere
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
	return slices.ContainsFunc(l.cidrs, func(p netip.Prefix) bool { return p.Contains(a) })
}

// both returns the scopes that two limits leave; nil is not limited.
func both(a, b limit) []string {
	switch {
	case a.scopes == nil:
		return b.scopes
	case b.scopes == nil:
		return a.scopes
	}
	left := []string{}
	for _, s := range a.scopes {
		if slices.Contains(b.scopes, s) {
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
