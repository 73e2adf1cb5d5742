package inet

import (
	"math"
	"math/big"
	"net/netip"
	"strings"

	"go4.org/netipx"

	"slipway.dev/pkg/fault"
)

// maxIPv4Range limits the addresses of an IPv4 range, because each address is a row.
const maxIPv4Range = 1 << 16

// Range is a run of addresses, both ends included.
type Range struct {
	First, Last netip.Addr
	Name        string // the text that ParseRange read
}

// ParseRange reads "192.0.2.4", "192.0.2.10-192.0.2.20" or "192.0.2.0/28".
func ParseRange(s string) (Range, error) {
	name := strings.Join(strings.Fields(s), "")
	first, last, err := parseEnds(name)
	switch {
	case err != nil:
		return Range{}, err
	case first.Is4() != last.Is4():
		return Range{}, fault.Invalid.With("%s begins and ends in different families", fault.Clip(name)).On("name")
	case last.Less(first):
		return Range{}, fault.Invalid.With("%s begins after its end", name).On("name")
	}
	r := Range{First: first, Last: last, Name: name}
	if n := r.Size(); first.Is4() && n > maxIPv4Range {
		return Range{}, fault.Invalid.With("%s has %d addresses; an IPv4 range has at most %d, so make several",
			name, n, maxIPv4Range).On("name")
	}
	return r, nil
}

func parseEnds(s string) (first, last netip.Addr, err error) {
	if strings.Contains(s, "/") {
		p, err := ParsePrefix(s)
		if err != nil {
			return first, last, err
		}
		ends := netipx.RangeOfPrefix(p)
		return ends.From(), ends.To(), nil
	}
	from, to, two := strings.Cut(s, "-")
	if !two {
		to = from
	}
	first, err1 := netip.ParseAddr(from)
	last, err2 := netip.ParseAddr(to)
	if err1 != nil || err2 != nil || isOdd(first) || isOdd(last) {
		return first, last, fault.Invalid.With(
			"%q is not an address, a range such as 192.0.2.10-192.0.2.20, or a prefix such as 192.0.2.0/28", fault.Clip(s)).On("name")
	}
	return first, last, nil
}

// isOdd reports whether a names a network interface or is an IPv4 address written as IPv6. No request may use either
// form.
func isOdd(a netip.Addr) bool { return a.Zone() != "" || a.Is4In6() }

// Size returns the number of addresses, at most math.MaxInt32.
func (r Range) Size() int64 {
	n := new(big.Int).Sub(toInt(r.Last), toInt(r.First))
	if n.Cmp(big.NewInt(math.MaxInt32-1)) >= 0 {
		return math.MaxInt32
	}
	return n.Int64() + 1
}

// In reports whether the whole range lies inside p.
func (r Range) In(p netip.Prefix) bool { return p.Contains(r.First) && p.Contains(r.Last) }

// Contains reports whether a lies in the range.
func (r Range) Contains(a netip.Addr) bool {
	return a.Is4() == r.First.Is4() && !a.Less(r.First) && !r.Last.Less(a)
}

// Usable returns how many addresses of the range machines and gateways of the network p may have, at most
// math.MaxInt32.
func (r Range) Usable(p netip.Prefix) int64 {
	n := r.Size()
	for _, a := range []netip.Addr{p.Masked().Addr(), last(p)} {
		if Reserved(p, a) && r.Contains(a) {
			n--
		}
	}
	return n
}

// Gap returns the first address from a on that used does not contain. used is sorted and has no address below a. The
// result may lie beyond the end of a range; it is invalid when every address up to the very last one is used.
func Gap(a netip.Addr, used []netip.Addr) netip.Addr {
	for _, u := range used {
		if u != a {
			break
		}
		a = a.Next()
	}
	return a
}

func last(p netip.Prefix) netip.Addr { return netipx.PrefixLastIP(p) }

func toInt(a netip.Addr) *big.Int { return new(big.Int).SetBytes(a.AsSlice()) }
