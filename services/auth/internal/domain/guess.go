package domain

import (
	"crypto/sha256"
	"net/netip"
)

// Counter is one count of failed logins. Key is a hash, so that its size does not depend on what the client sent; Limit names
// the setting that bounds it.
type Counter struct {
	Key   []byte
	Limit string
}

// Counters returns what a login counts against: the client's address, when it is known, and the account, which need
// not exist: a counter that only existing accounts have would tell which ones exist. The order is the order of locking.
func Counters(email, clientIP string) []Counter {
	var list []Counter
	if a, err := netip.ParseAddr(clientIP); err == nil {
		list = append(list, Counter{key("address " + prefix(a).String()), LoginAttemptsAddress})
	}
	return append(list, Counter{key("account " + email), LoginAttemptsAccount})
}

// prefix is what one client has for itself: an IPv4 address, or 64 bits of IPv6.
func prefix(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits) // fails only on lengths that do not exist
	return p
}

func key(s string) []byte {
	sum := sha256.Sum256([]byte(s))
	return sum[:]
}
