package bridge

import (
	"encoding/binary"
	"net/netip"

	"github.com/google/nftables/expr"

	"slipway.dev/services/node/internal/hyper"
)

// Values in frames.
var (
	etherIP   = []byte{0x08, 0x00}
	etherARP  = []byte{0x08, 0x06}
	etherIPv6 = []byte{0x86, 0xdd}
	linkLocal = []byte{0xfe, 0x80}
)

const (
	protoUDP    = 17
	protoICMPv6 = 58
)

// guardRules drop the frames of the tap that the card must not send.
func guardRules(n hyper.NIC) []rule {
	var list []rule
	for _, when := range forbidden(n) {
		list = append(list, append(when, &expr.Counter{}, &expr.Verdict{Kind: expr.VerdictDrop}))
	}
	return list
}

// forbidden are the conditions under which a frame from the tap is dropped.
func forbidden(n hyper.NIC) []rule {
	var v4, v6 [][]byte
	for _, a := range n.Addresses {
		if a.Is4() {
			v4 = append(v4, a.AsSlice())
		} else {
			v6 = append(v6, a.AsSlice())
		}
	}
	noAddress := netip.IPv4Unspecified().AsSlice()
	noAddress6 := netip.IPv6Unspecified().AsSlice()
	ether := func(t []byte) rule { return load(expr.PayloadBaseLLHeader, 12, 2).is(t) }
	l4 := func(t []byte, proto, first byte) rule { // ICMPv6 type
		return join(ether(t), rule{
			&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{proto}},
		}, load(expr.PayloadBaseTransportHeader, 0, 1).is([]byte{first}))
	}
	port := func(t []byte, port uint16) rule {
		return join(ether(t), rule{
			&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{protoUDP}},
		}, load(expr.PayloadBaseTransportHeader, 0, 2).is(binary.BigEndian.AppendUint16(nil, port)))
	}
	network := func(offset, size uint32, ok ...[]byte) rule {
		return load(expr.PayloadBaseNetworkHeader, offset, size).not(ok...)
	}
	return []rule{
		load(expr.PayloadBaseLLHeader, 6, 6).not(n.MAC),
		load(expr.PayloadBaseLLHeader, 12, 2).not(etherIP, etherARP, etherIPv6),
		join(ether(etherARP), network(8, 6, n.MAC)),
		join(ether(etherARP), network(14, 4, append(v4, noAddress)...)),
		join(ether(etherIP), network(12, 4, v4...)),
		port(etherIP, 67), // DHCP server
		join(ether(etherIPv6), network(8, 2, linkLocal), network(8, 16, append(v6, noAddress6)...)),
		port(etherIPv6, 547),            // DHCPv6 server
		l4(etherIPv6, protoICMPv6, 134), // router advertisement
		join(l4(etherIPv6, protoICMPv6, 136), load(expr.PayloadBaseTransportHeader, 8, 2).not(linkLocal),
			load(expr.PayloadBaseTransportHeader, 8, 16).not(v6...)),
	}
}

// field is bytes of a frame to compare.
type field struct{ p expr.Payload }

func load(base expr.PayloadBase, offset, size uint32) field {
	return field{expr.Payload{DestRegister: 1, Base: base, Offset: offset, Len: size}}
}

func (f field) is(v []byte) rule {
	return rule{&f.p, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: v}}
}

// not matches if the field is none of ok.
func (f field) not(ok ...[]byte) rule {
	out := rule{&f.p}
	for _, v := range ok {
		out = append(out, &expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: v})
	}
	return out
}

func join(parts ...rule) rule {
	var out rule
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}
