// Package guess limits how often passwords and codes may be guessed: it counts failed logins by account and by address.
package guess

import (
	"crypto/sha256"
	"net/netip"

	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/fault"
	"slipway.dev/services/auth/internal/setting"
)

// ErrLimited refuses a login because too many failed before.
var ErrLimited = fault.New(codes.ResourceExhausted, "RATE_LIMITED", "too many login attempts, try again later")

// counter is one count of failed logins. key is a hash, so that its size does not depend on what the client sent;
// limit names the setting that bounds the count.
type counter struct {
	key   []byte
	limit setting.Name
}

// counters returns what a login counts against: the client's address, when it is known, and the account, which need
// not exist: a counter that only existing accounts have would show which ones exist. The order is the order of locking.
func counters(email, clientIP string) []counter {
	var list []counter
	if a, err := netip.ParseAddr(clientIP); err == nil {
		list = append(list, counter{key("address " + prefix(a).String()), setting.LoginAttemptsAddress})
	}
	return append(list, counter{key("account " + email), setting.LoginAttemptsAccount})
}

// prefix returns what one client has for itself: an IPv4 address, or 64 bits of IPv6.
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
