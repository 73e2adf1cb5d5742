package host

import (
	"bytes"
	"net"
	"net/netip"
	"slices"

	"slipway.dev/pkg/fault"
)

// card is what a request asks of an interface of the new host.
type card struct {
	MAC     string
	Main    *bool
	Address string // a certain one; "" is any
	Pool    int32
	Count   *int32
	None    bool // no addresses
}

// on returns the name of a field of the only interface, for faults.
func (card) on(name string) string { return "custom_interfaces[0]." + name }

// takeInterface takes over what the request asks of the interface. What other fields of the request ask of addresses must
// be the same.
func (s *createSpec) takeInterface() error {
	if len(s.Interfaces) == 0 {
		return nil
	}
	if len(s.Interfaces) > 1 {
		return fault.Invalid.With("a host has one interface").On("custom_interfaces[1]")
	}
	c := s.Interfaces[0]
	if c.Main != nil && !*c.Main {
		return fault.Invalid.With("the only interface of a host is the main one").On(c.on("is_main_network"))
	}
	if c.MAC != "" {
		mac, err := net.ParseMAC(c.MAC)
		if err != nil || len(mac) != 6 || mac[0]&1 != 0 || bytes.Equal(mac, make([]byte, 6)) {
			return fault.Invalid.With("%.60q is not the hardware address of an interface", c.MAC).On(c.on("mac"))
		}
		s.MAC = mac
	}
	if c.None {
		return s.takeNoAddress(c)
	}
	return s.takeAddresses(c)
}

// takeNoAddress is takeInterface for an interface without addresses.
func (s *createSpec) takeNoAddress(c card) error {
	asked := c.Address != "" || c.Pool != 0 || c.Count != nil && *c.Count != 0
	if asked || s.Address != "" || s.FromWhere || s.IPv6 || s.IPv4Given && s.IPv4Number != 0 {
		return fault.Invalid.With("true, but the request asks for an address").On(c.on("no_ip"))
	}
	s.IPv4Number, s.IPv4Given = 0, true
	return nil
}

// takeAddresses is takeInterface for an interface with addresses.
func (s *createSpec) takeAddresses(c card) error {
	if c.Count != nil {
		if s.IPv4Given && s.IPv4Number != *c.Count {
			return fault.Invalid.With("%d, but ipv4_number is %d", *c.Count, s.IPv4Number).On(c.on("ip_count"))
		}
		s.IPv4Number, s.IPv4Given = *c.Count, true
	}
	if c.Address != "" {
		if s.Address != "" && !sameAddress(s.Address, c.Address) {
			return fault.Invalid.With("another address than that of ip_addr").On(c.on("ip_name"))
		}
		s.Address, s.byCard = c.Address, true
	}
	if c.Pool != 0 {
		if len(s.IPv4Pools) > 0 && !slices.Equal(s.IPv4Pools, []int32{c.Pool}) {
			return fault.Invalid.With("other pools are named beside the interface").On(c.on("ippool"))
		}
		s.IPv4Pools, s.FromWhere, s.byCard = []int32{c.Pool}, true, true
	}
	return nil
}

// sameAddress reports whether two texts are the same address.
func sameAddress(a, b string) bool {
	x, err := netip.ParseAddr(a)
	y, other := netip.ParseAddr(b)
	return err == nil && other == nil && x == y
}

// blame returns the fault of an addresses' claim with the field as the request spells it.
func (s *createSpec) blame(err error) error {
	f, ok := fault.From(err)
	if !ok || !s.byCard {
		return err
	}
	switch f.Field {
	case "ip_addr", "ipv4_pool":
		if f.Field == "ip_addr" && s.Address != "" {
			return f.On(card{}.on("ip_name"))
		}
		return f.On(card{}.on("ippool"))
	case "ipv4_number":
		return f.On(card{}.on("ip_count"))
	default:
		return err
	}
}
