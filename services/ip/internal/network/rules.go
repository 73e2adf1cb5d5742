// Package network holds the networks that addresses come from: their prefixes, and which network is inside which.
package network

import (
	"net/netip"
	"strings"

	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/fault"
	"slipway.dev/services/ip/internal/inet"
	"slipway.dev/services/ip/internal/message"
)

var errInUse = fault.New(codes.FailedPrecondition, "IN_USE", "the network is in use")

// Types of a network.
const (
	container = "container" // holds other networks
	active    = "active"    // has addresses to give
)

// Network is a prefix. An active network has addresses to give, a container holds other networks.
type Network struct {
	ID      int32
	CIDR    netip.Prefix
	Type    string
	Gateway netip.Addr // the zero Addr for a container
	DNS     []netip.Addr
	VLAN    *int32
	Note    string
	Parent  *int32 // the smallest network that contains this one
	Used    int64  // addresses in use
}

// parse checks a new network. The default gateway is the first usable address.
func parse(cidr, kind, gateway, note string) (Network, error) {
	p, err := inet.ParsePrefix(cidr)
	if err != nil {
		return Network{}, err
	}
	n := Network{CIDR: p, Type: kind, Note: note}
	gateway = strings.TrimSpace(gateway)
	switch kind {
	case container:
		if gateway != "" {
			return Network{}, fault.Invalid.With("a container has none").On("gateway")
		}
		return n, message.CheckNote(note)
	case "", active:
		n.Type = active
	default:
		return Network{}, fault.Invalid.With("%q is neither active nor container", fault.Clip(kind)).On("type")
	}
	if err := n.activate(); err != nil {
		return Network{}, err
	}
	if gateway != "" {
		if n.Gateway, err = n.parseGateway(gateway); err != nil {
			return Network{}, err
		}
	}
	if err := n.checkActive(); err != nil {
		return Network{}, err
	}
	return n, message.CheckNote(note)
}

// setType changes the type. The caller checks that no network is inside n.
func (n *Network) setType(kind string) error {
	switch {
	case kind == n.Type:
		return nil
	case kind == active:
		return n.activate()
	case kind == container:
		return fault.Invalid.With("an active network stays active").On("type")
	}
	return fault.Invalid.With("%q is neither active nor container", fault.Clip(kind)).On("type")
}

func (n *Network) activate() error {
	n.Type, n.Gateway = active, netip.Addr{}
	if !n.CIDR.IsSingleIP() {
		n.Gateway = inet.FirstUsable(n.CIDR)
	}
	return nil
}

// checkActive refuses an active network without a gateway: a single address has its gateway outside.
func (n Network) checkActive() error {
	if n.Type == active && !n.Gateway.IsValid() {
		return fault.Invalid.With("required: %s is a single address, so its gateway is outside", n.CIDR).On("gateway")
	}
	return nil
}

// inside returns a if it is an address of the network that a range may hold, else the zero Addr.
func (n Network) inside(a netip.Addr) netip.Addr {
	if n.CIDR.Contains(a) {
		return a
	}
	return netip.Addr{}
}

const (
	maxVLAN = 4094
	maxDNS  = 8
)

// setVLAN sets the number of the VLAN; 0 removes it.
func (n *Network) setVLAN(id int32) error {
	if id < 0 || id > maxVLAN {
		return fault.Invalid.With("from 1 to %d", maxVLAN).On("vlan")
	}
	if n.VLAN = &id; id == 0 {
		n.VLAN = nil
	}
	return nil
}

// setDNS sets the name servers. It skips empty texts.
func (n *Network) setDNS(servers []string) error {
	n.DNS = []netip.Addr{}
	for _, text := range servers {
		if strings.TrimSpace(text) == "" {
			continue
		}
		a, err := inet.ParseAddress("dns_servers", text)
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

// parseGateway reads a gateway of the network. It may be a link-local address or outside the network.
func (n Network) parseGateway(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(strings.TrimSpace(s))
	switch {
	case n.Type == container:
		return a, fault.Invalid.With("a container has none").On("gateway")
	case err != nil || a.Zone() != "":
		return a, fault.Invalid.With("%q is not an address", fault.Clip(s)).On("gateway")
	case a.Is4() != n.CIDR.Addr().Is4() || a.Is4In6():
		return a, fault.Invalid.With("%s is not of the family of %s", a, n.CIDR).On("gateway")
	case a.IsUnspecified() || a.IsLoopback() || a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return a, fault.Invalid.With("%s is no address of a router", a).On("gateway")
	case n.CIDR.IsSingleIP() && n.CIDR.Contains(a):
		return a, fault.Invalid.With("%s is the only address of the network", a).On("gateway")
	case inet.Reserved(n.CIDR, a):
		return a, fault.Invalid.With("%s is the network's own or broadcast address", a).On("gateway")
	}
	return a, nil
}
