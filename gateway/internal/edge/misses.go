package edge

import (
	"net/netip"
	"time"

	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/fault"
)

// Limits on lookups of unknown tokens by one address. A client that polls with an expired token causes one each
// second.
const (
	missBurst = 100
	missEvery = 200 * time.Millisecond
	maxMisses = 50_000
)

// ErrGuesses refuses an address that sent too many unknown tokens.
var ErrGuesses = fault.New(codes.ResourceExhausted, "TOO_MANY_ATTEMPTS", "too many unknown tokens from this address, wait a while")

// misses limits how many unknown tokens an address may have looked up. For each address it holds the time at which
// all of its misses will have expired, one every missEvery. The lock of Sessions guards it.
type misses map[netip.Prefix]time.Time

// take counts a lookup as a miss before it is made, so that concurrent lookups are limited too. It returns how long
// the address must wait; 0 if the lookup may go ahead.
func (m misses) take(client string, now time.Time) time.Duration {
	n := network(client)
	until := m[n]
	if until.Before(now) {
		until = now
	}
	if wait := until.Sub(now) - (missBurst-1)*missEvery; wait > 0 {
		return wait
	}
	if len(m) >= maxMisses {
		m.sweep(now)
	}
	m[n] = until.Add(missEvery)
	return 0
}

// found removes the miss of a lookup that found a token.
func (m misses) found(client string) {
	if until, ok := m[network(client)]; ok {
		m[network(client)] = until.Add(-missEvery)
	}
}

// sweep removes addresses without current misses, or all addresses if too few can be removed.
func (m misses) sweep(now time.Time) {
	for n, until := range m {
		if !until.After(now) {
			delete(m, n)
		}
	}
	if len(m) >= maxMisses {
		clear(m)
	}
}

// network returns the prefix that counts as one address: a /64 for IPv6, since a client has a whole /64.
func network(client string) netip.Prefix {
	a, err := netip.ParseAddr(client)
	if err != nil {
		return netip.Prefix{}
	}
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
