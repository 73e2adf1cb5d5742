package edge

import (
	"net/netip"
	"time"

	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/fault"
)

// Bounds of look-ups that find nothing, for one address. A client that polls with one expired token makes one each second.
const (
	missBurst = 100
	missEvery = 200 * time.Millisecond
	maxMisses = 50_000
)

// ErrGuesses refuses an address that sent too many unknown tokens.
var ErrGuesses = fault.New(codes.ResourceExhausted, "TOO_MANY_ATTEMPTS", "too many unknown tokens from this address, wait a while")

// misses bounds how many unknown tokens an address may have looked up. Each address has the time at which all of its misses
// will have been made up for, one every missEvery. The lock of Sessions guards it.
type misses map[netip.Prefix]time.Time

// take counts a look-up as a miss before it is made, so that many at a time are bounded too. It returns how long the address must
// wait instead; 0 when it need not.
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

// found takes back the miss of a look-up that auth answered otherwise.
func (m misses) found(client string) {
	if until, ok := m[network(client)]; ok {
		m[network(client)] = until.Add(-missEvery)
	}
}

// sweep forgets the addresses that owe nothing; all of them when that is too few.
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

// network returns what counts as one address: a client has a whole /64 of IPv6.
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
