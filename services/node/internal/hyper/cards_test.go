package hyper_test

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"slipway.dev/services/node/internal/hyper"
)

func prefixes(list ...string) (out []netip.Prefix) {
	for _, p := range list {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

// TestNeeds: a bridge has what the request and its machines need and nothing else; a machine that does not say what it
// needs keeps what was there.
func TestNeeds(t *testing.T) {
	t.Parallel()
	card := func(guest string, side *hyper.NodeSide) hyper.NIC {
		return hyper.NIC{Network: "br0", Addresses: []netip.Addr{netip.MustParseAddr(guest)}, NodeSide: side}
	}
	one := card("10.0.0.5", &hyper.NodeSide{Addresses: prefixes("10.0.0.1/24"), NAT: prefixes("10.0.0.0/24")})
	moved := card("10.0.0.5", &hyper.NodeSide{Addresses: prefixes("10.0.0.254/24"), NAT: prefixes("10.0.0.0/24")})
	same := card("10.0.0.6", &hyper.NodeSide{Addresses: prefixes("10.0.0.1/24")})
	elsewhere := hyper.NIC{Network: "br1", NodeSide: &hyper.NodeSide{Addresses: prefixes("10.9.0.1/24")}}
	kept := hyper.Network{Name: "br0", Addresses: prefixes("10.7.0.1/24"), NAT: prefixes("10.7.0.0/24"), MTU: 1400}
	for _, tt := range []struct {
		name           string
		asked          hyper.Network
		cards          [][]hyper.NIC // of one machine after another; the last of a machine counts
		addresses, nat []netip.Prefix
	}{
		{"nothing", hyper.Network{}, nil, nil, nil},
		{"the request alone", hyper.Network{Addresses: prefixes("10.5.0.1/24")}, nil, prefixes("10.5.0.1/24"), nil},
		{"a machine", hyper.Network{}, [][]hyper.NIC{{one}}, prefixes("10.0.0.1/24"), prefixes("10.0.0.0/24")},
		{"another bridge's machine", hyper.Network{}, [][]hyper.NIC{{elsewhere}}, nil, nil},
		{"a changed machine", hyper.Network{}, [][]hyper.NIC{{one}, nil, {moved}}, prefixes("10.0.0.254/24"), prefixes("10.0.0.0/24")},
		{"two that need the same", hyper.Network{}, [][]hyper.NIC{{one, same}}, prefixes("10.0.0.1/24"), prefixes("10.0.0.0/24")},
		{"a removed machine", hyper.Network{}, [][]hyper.NIC{{one, same}, nil}, nil, nil},
		{"a guest of the request", hyper.Network{Guests: []netip.Addr{netip.MustParseAddr("10.0.0.1")}}, [][]hyper.NIC{{one}}, nil, prefixes("10.0.0.0/24")},
		{"a guest that has the gateway", hyper.Network{}, [][]hyper.NIC{{one, card("10.0.0.1", &hyper.NodeSide{})}}, nil, prefixes("10.0.0.0/24")},
		{"one that does not say", hyper.Network{}, [][]hyper.NIC{{one, card("10.7.0.5", nil)}}, prefixes("10.0.0.1/24", "10.7.0.1/24"), prefixes("10.0.0.0/24", "10.7.0.0/24")},
	} {
		var c hyper.Cards
		id := uuid.New()
		for _, cards := range tt.cards {
			c.Set(id, cards)
		}
		tt.asked.Name = "br0"
		want := hyper.Network{Name: "br0", Addresses: tt.addresses, NAT: tt.nat, MTU: 1400}
		if diff := cmp.Diff(want, c.Needs(tt.asked, kept), cmpopts.EquateComparable(netip.Prefix{}), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}
