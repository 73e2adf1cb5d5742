package hypertest

import (
	"context"
	"net"
	"net/netip"
	"slices"

	"slipway.dev/services/node/internal/hyper"
)

// bridge: a bridge has the addresses that its machines need, gives up those of a machine's own, and keeps them over a
// restart of the agent.
func bridge(s suite) {
	ctx, n := context.Background(), s.o.Network(s.T)
	n.Addresses, n.NAT = nil, nil
	one, two := Machine(s.T, s.d), Machine(s.T, s.d)
	check := func(when string, want ...string) {
		s.Helper()
		var got []string
		for _, p := range s.o.Bridge(s.T, s.d, n.Name) {
			got = append(got, p.String())
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			s.Errorf("%s the bridge has %v, want %v", when, got, want)
		}
		if list := s.network(n.Name).Addresses; len(list) != len(got) {
			s.Errorf("%s the driver lists %v, the bridge has %v", when, list, got)
		}
	}
	plug := func(m hyper.Machine, addr, gateway string) {
		s.Helper()
		side := &hyper.NodeSide{Addresses: []netip.Prefix{netip.MustParsePrefix(gateway)}}
		m.NICs = []hyper.NIC{{
			MAC: net.HardwareAddr{0x52, 0x54, 0, 0, 7, 9}, Network: n.Name,
			Addresses: []netip.Addr{netip.MustParseAddr(addr)}, NodeSide: side,
		}}
		s.ok("EnsureNetwork", s.d.EnsureNetwork(ctx, hyper.Network{Name: n.Name, Addresses: side.Addresses, Guests: m.NICs[0].Addresses}))
		s.ok("Define", s.d.Define(ctx, m))
	}
	plug(one, "100.127.14.7", "100.127.14.1/24")
	s.ok("Start", s.d.Start(ctx, one.UUID))
	check("with a machine", "100.127.14.1/24")
	plug(two, "100.127.14.1", "100.127.14.254/24")
	check("with a machine that has the first one's gateway", "100.127.14.254/24")
	plug(two, "100.127.14.8", "100.127.14.254/24")
	check("with another gateway", "100.127.14.1/24", "100.127.14.254/24")
	if s.o.Reopen != nil {
		s.d = s.o.Reopen(s.T, s.d)
		check("after a restart", "100.127.14.1/24", "100.127.14.254/24")
	}
	s.ok("Remove", s.d.Remove(ctx, two.UUID))
	check("after the removal of a machine", "100.127.14.1/24")
	s.ok("Remove", s.d.Remove(ctx, one.UUID))
	check("after the last machine")
	gateway := netip.MustParsePrefix("100.127.14.1/24")
	s.ok("EnsureNetwork", s.d.EnsureNetwork(ctx, hyper.Network{Name: n.Name, Addresses: []netip.Prefix{gateway}, NAT: []netip.Prefix{gateway.Masked()}}))
	check("for a machine to come", gateway.String())
	if nat := s.network(n.Name).NAT; !slices.Equal(nat, []netip.Prefix{gateway.Masked()}) {
		s.Errorf("the driver lists the translations %v", nat)
	}
	s.ok("Remove", s.d.Remove(ctx, one.UUID))
	check("when the machine does not come")
	if nat := s.network(n.Name).NAT; len(nat) > 0 {
		s.Errorf("when the machine does not come the driver lists the translations %v", nat)
	}
	s.ok("RemoveNetwork", s.d.RemoveNetwork(ctx, n.Name))
}

// network returns what the driver lists of a bridge.
func (s suite) network(name string) hyper.Network {
	s.Helper()
	list, err := s.d.Networks(context.Background())
	s.ok("Networks", err)
	for _, n := range list {
		if n.Name == name {
			return n
		}
	}
	return hyper.Network{}
}
