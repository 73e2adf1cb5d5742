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
// limit names the setting that bounds the count. A slow counter lets a further login through after a delay that grows
// with the count; the others, when the window ends.
type counter struct {
	key   []byte
	limit setting.Name
	slow  bool
}

// Delays of a slow counter: the first after its limit is reached, doubled by each further failure, and the greatest.
const (
	firstDelay    = "interval '10 seconds'"
	greatestDelay = "interval '1 minute'"
)

// counters returns what a login counts against: the client's address, when it is known, the account at that address,
// and the account wherever the client is. The account need not exist: a counter that only existing accounts have would
// show which ones exist. Guesses from everywhere delay the account's logins but do not lock its owner out for good. The
// order is the order of locking.
func counters(email, clientIP string) []counter {
	var list []counter
	at := network(clientIP)
	if at != "" {
		list = append(list, counter{key: key("address " + at), limit: setting.LoginAttemptsAddress})
	}
	return append(list,
		counter{key: key("account " + email + " at " + at), limit: setting.LoginAttemptsAccount},
		counter{key: key("account " + email), limit: setting.LoginAttemptsAccount, slow: true})
}

// place returns the key of an account at a client's address; nil if the address is not known.
func place(email, clientIP string) []byte {
	at := network(clientIP)
	if at == "" {
		return nil
	}
	return key("place " + email + " at " + at)
}

// network returns the network of a client's address as text; "" if the address is not known.
func network(clientIP string) string {
	a, err := netip.ParseAddr(clientIP)
	if err != nil {
		return ""
	}
	return prefix(a).String()
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
