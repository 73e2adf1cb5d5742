package domain

import (
	"math/big"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"slipway.dev/pkg/clamp"
	"slipway.dev/pkg/fault"
)

// Types of a network.
const (
	Container = "container" // holds other networks
	Active    = "active"    // has addresses to give
)

// Network is a prefix that addresses come from, or that holds such.
type Network struct {
	ID      int32
	CIDR    netip.Prefix
	Type    string
	Gateway netip.Addr // none of a container
	DNS     []netip.Addr
	VLAN    *int32
	Note    string
	Parent  *int32 // the smallest network around it
	Used    int64  // addresses in use
}

// NewNetwork checks a new network. Without a gateway it is the first usable address.
func NewNetwork(cidr, kind, gateway, note string) (Network, error) {
	p, err := parsePrefix(cidr)
	if err != nil {
		return Network{}, err
	}
	n := Network{CIDR: p, Type: kind, Note: note}
	gateway = strings.TrimSpace(gateway)
	switch kind {
	case Container:
		if gateway != "" {
			return Network{}, fault.Invalid.With("a container has none").On("gateway")
		}
		return n, CheckNote(note)
	case "", Active:
		n.Type = Active
	default:
		return Network{}, fault.Invalid.With("%q is neither active nor container", clip(kind)).On("type")
	}
	if err := n.activate(); err != nil {
		return Network{}, err
	}
	if gateway != "" {
		if n.Gateway, err = n.ParseGateway(gateway); err != nil {
			return Network{}, err
		}
	}
	return n, CheckNote(note)
}

// Become changes the type. Who calls it has made sure that no network is inside.
func (n *Network) Become(kind string) error {
	switch {
	case kind == n.Type:
		return nil
	case kind == Active:
		return n.activate()
	case kind == Container:
		return fault.Invalid.With("an active network stays active").On("type")
	}
	return fault.Invalid.With("%q is neither active nor container", clip(kind)).On("type")
}

func (n *Network) activate() error {
	if n.CIDR.IsSingleIP() {
		return fault.Invalid.With("%s is a single address and has no room for a gateway beside a host", n.CIDR).On("name")
	}
	n.Type, n.Gateway = Active, FirstUsable(n.CIDR)
	return nil
}

const (
	maxVLAN = 4094
	maxDNS  = 8
)

// SetVLAN sets the VLAN's number; 0 is none.
func (n *Network) SetVLAN(id int32) error {
	if id < 0 || id > maxVLAN {
		return fault.Invalid.With("from 1 to %d", maxVLAN).On("vlan")
	}
	if n.VLAN = &id; id == 0 {
		n.VLAN = nil
	}
	return nil
}

// SetDNS sets the name servers. Empty texts are none.
func (n *Network) SetDNS(servers []string) error {
	n.DNS = []netip.Addr{}
	for _, text := range servers {
		if strings.TrimSpace(text) == "" {
			continue
		}
		a, err := ParseAddress("dns_servers", text)
		if err != nil {
			return err
		}
		n.DNS = append(n.DNS, a)
	}
	if len(n.DNS) > maxDNS {
		return fault.Invalid.With("at most %d", maxDNS).On("dns_servers")
	}
	return nil
}

// parsePrefix reads a prefix without host bits. It does not drop them: 192.0.2.5/24 may be a slip for 192.0.2.5/32 as
// well as for 192.0.2.0/24.
func parsePrefix(s string) (netip.Prefix, error) {
	s = strings.TrimSpace(s)
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil || p.Addr().Is4In6():
		return p, fault.Invalid.With("%q is not a network such as 192.0.2.0/24 or 2001:db8::/64", clip(s)).On("name")
	case p != p.Masked():
		return p, fault.Invalid.With("%s has host bits set; the network is %s", p, p.Masked()).On("name")
	}
	return p, nil
}

// ParseGateway reads a gateway of the network.
func (n Network) ParseGateway(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(strings.TrimSpace(s))
	switch {
	case n.Type == Container:
		return a, fault.Invalid.With("a container has none").On("gateway")
	case err != nil || a.Zone() != "":
		return a, fault.Invalid.With("%q is not an address", clip(s)).On("gateway")
	case !n.CIDR.Contains(a):
		return a, fault.Invalid.With("%s is not inside %s", a, n.CIDR).On("gateway")
	case Reserved(n.CIDR, a):
		return a, fault.Invalid.With("%s is the network's own or broadcast address", a).On("gateway")
	}
	return a, nil
}

// FirstUsable is the first address of p that a machine may have.
func FirstUsable(p netip.Prefix) netip.Addr {
	a := p.Masked().Addr()
	if Reserved(p, a) {
		return a.Next()
	}
	return a
}

// Reserved reports whether a is the network's own address or, for IPv4, the broadcast address. Networks of one or two
// addresses have neither.
func Reserved(p netip.Prefix, a netip.Addr) bool {
	if p.Bits() >= p.Addr().BitLen()-1 {
		return false
	}
	return a == p.Masked().Addr() || a.Is4() && a == last(p)
}

// Size is the number of addresses of p, as text: an IPv6 network has more than a number holds.
func Size(p netip.Prefix) string {
	return new(big.Int).Lsh(big.NewInt(1), clamp.Uint(p.Addr().BitLen()-p.Bits())).String()
}

// Mask is "255.255.255.0" for IPv4 and the length of the prefix for IPv6.
func Mask(p netip.Prefix) string {
	if p.Addr().Is4() {
		return net.IP(net.CIDRMask(p.Bits(), 32)).String()
	}
	return strconv.Itoa(p.Bits())
}

// Family is 4 or 6.
func Family(a netip.Addr) int32 {
	if a.Is4() {
		return 4
	}
	return 6
}
