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

// checkName refuses another prefix than the network's, which cannot be changed; "" is none.
func (n Network) checkName(name string) error {
	if name == "" {
		return nil
	}
	if p, err := inet.ParsePrefix(name); err != nil || p != n.CIDR {
		return fault.Invalid.With("the prefix of a network cannot be changed").On("name")
	}
	return nil
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
		if err := inet.CheckContainer("name", p); err != nil {
			return Network{}, err
		}
		return n, message.CheckNote(note)
	case "", active:
		n.Type = active
	default:
		return Network{}, fault.Invalid.With("%q is neither active nor container", fault.Clip(kind)).On("type")
	}
	if err := n.activate("name"); err != nil {
		return Network{}, err
	}
	if gateway != "" {
		if n.Gateway, err = n.parseGateway(gateway); err != nil {
			return Network{}, err
		}
	}
	return n, message.CheckNote(note)
}

// setType changes the type. The caller checks that no network is inside n.
func (n *Network) setType(kind string) error {
	switch {
	case kind == n.Type:
		return nil
	case kind == active:
		return n.activate("type")
	case kind == container:
		return fault.Invalid.With("an active network stays active").On("type")
	}
	return fault.Invalid.With("%q is neither active nor container", fault.Clip(kind)).On("type")
}

// activate makes the network one that has addresses to give. Its gateway is the first usable address; a single address
// has none of its own. field is the field of the request that makes it so.
func (n *Network) activate(field string) error {
	n.Type, n.Gateway = active, netip.Addr{}
	if !n.CIDR.IsSingleIP() {
		n.Gateway = inet.FirstUsable(n.CIDR)
	}
	return inet.CheckNetwork(field, n.CIDR)
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
		if err := inet.CheckPeer("dns_servers", a); err != nil {
			return err
		}
		n.DNS = append(n.DNS, a)
	}
	if len(n.DNS) > maxDNS {
		return fault.Invalid.With("at most %d", maxDNS).On("dns_servers")
	}
	return nil
}

// parseGateway reads a gateway of the network. It may be a link-local address or outside the network. A network of a
// single address needs none: another address of the host may have the route to the outside.
func (n Network) parseGateway(s string) (netip.Addr, error) {
	s = strings.TrimSpace(s)
	if s == "" && n.Type == active && n.CIDR.IsSingleIP() {
		return netip.Addr{}, nil
	}
	a, err := netip.ParseAddr(s)
	switch {
	case n.Type == container:
		return a, fault.Invalid.With("a container has none").On("gateway")
	case err != nil || a.Zone() != "":
		return a, fault.Invalid.With("%q is not an address", fault.Clip(s)).On("gateway")
	case a.Is4() != n.CIDR.Addr().Is4() || a.Is4In6():
		return a, fault.Invalid.With("%s is not of the family of %s", a, n.CIDR).On("gateway")
	case n.CIDR.IsSingleIP() && n.CIDR.Contains(a):
		return a, fault.Invalid.With("%s is the only address of the network", a).On("gateway")
	case inet.Reserved(n.CIDR, a):
		return a, fault.Invalid.With("%s is the network's own or broadcast address", a).On("gateway")
	}
	return a, inet.CheckPeer("gateway", a)
}
