package bridge

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"

	"github.com/google/nftables/expr"

	"slipway.dev/services/node/internal/hyper"
)

// Values in frames.
var (
	etherIP   = []byte{0x08, 0x00}
	etherARP  = []byte{0x08, 0x06}
	etherIPv6 = []byte{0x86, 0xdd}
	arpForm   = []byte{0, 1, 8, 0, 6, 4} // Ethernet and IPv4, with addresses of these lengths
	none4     = netip.IPv4Unspecified().AsSlice()
	none6     = netip.IPv6Unspecified().AsSlice()
	// mayBeFragmented are the protocols that may follow a fragment header: ICMPv6 and those of applications and tunnels.
	mayBeFragmented = [][]byte{{4}, {6}, {17}, {41}, {47}, {50}, {protoICMPv6}, {132}, {136}}
)

const (
	protoUDP       = 17
	protoICMPv6    = 58
	headerFragment = 44

	routerSolicitation     = 133
	routerAdvertisement    = 134
	neighbourSolicitation  = 135
	neighbourAdvertisement = 136
	redirect               = 137
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
	own4, own6 := ownAddresses(n)
	list := []rule{
		load(expr.PayloadBaseLLHeader, 6, 6).not(n.MAC),
		load(expr.PayloadBaseLLHeader, 12, 2).not(etherIP, etherARP, etherIPv6),
		join(ether(etherARP), network(0, 6).not(arpForm)),
		join(ether(etherARP), network(8, 6).not(n.MAC)),
		join(ether(etherARP), network(14, 4).not(append(own4, none4)...)),
		join(ether(etherIP), network(12, 4).not(own4...)),
		join(ether(etherIPv6), network(8, 16).not(append(own6, none6)...)),
		join(ether(etherIPv6), network(8, 16).is(none6), protocol(expr.CmpOpNeq, protoICMPv6)),
	}
	list = append(list, servers()...)
	return append(list, discovery(own6)...)
}

// ownAddresses returns the addresses that the card may send from. A card has one link-local address, that of its MAC:
// which others are free is not known.
func ownAddresses(n hyper.NIC) (own4, own6 [][]byte) {
	for _, a := range n.Addresses {
		if a.Is4() {
			own4 = append(own4, a.AsSlice())
		} else {
			own6 = append(own6, a.AsSlice())
		}
	}
	return own4, append(own6, linkLocal(n.MAC))
}

// linkLocal returns the link-local address that follows from a MAC (RFC 4291, appendix A).
func linkLocal(mac net.HardwareAddr) []byte {
	return []byte{0xfe, 0x80, 0, 0, 0, 0, 0, 0, mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]}
}

// servers are the conditions under which a frame is an answer of a DHCP server or a message of a router.
func servers() []rule {
	return []rule{
		join(ether(etherIP), protocol(expr.CmpOpEq, protoUDP), transport(0, 2).is(port(67))),
		join(ether(etherIP), protocol(expr.CmpOpEq, protoUDP), transport(2, 2).is(port(68))),
		join(ether(etherIPv6), protocol(expr.CmpOpEq, protoUDP), transport(0, 2).is(port(547))),
		join(ether(etherIPv6), protocol(expr.CmpOpEq, protoUDP), transport(2, 2).is(port(546))),
		icmp6(routerAdvertisement),
		icmp6(redirect),
	}
}

// discovery are the conditions under which a frame claims another's address in neighbour discovery, or may hide that it
// does: neighbour discovery is never fragmented (RFC 6980), and a first fragment has all headers (RFC 7112), so what
// follows the fragment header is no further header. Later fragments are of no use without the first one.
func discovery(own6 [][]byte) []rule {
	fragment := func(offset uint32) rule {
		return rule{&expr.Exthdr{DestRegister: 1, Type: headerFragment, Offset: offset, Len: 1, Op: expr.ExthdrOpIpv6}}
	}
	return []rule{
		join(icmp6(neighbourAdvertisement), transport(8, 16).not(own6...)),
		join(icmp6(neighbourSolicitation), network(8, 16).is(none6), transport(8, 16).not(own6...)),
		join(ether(etherIPv6), field{fragment(0)}.not(mayBeFragmented...)),
		join(ether(etherIPv6), fragment(0), protocol(expr.CmpOpEq, protoICMPv6),
			transport(0, 1).between(routerSolicitation, redirect)),
	}
}

func ether(t []byte) rule { return load(expr.PayloadBaseLLHeader, 12, 2).is(t) }

func network(offset, size uint32) field { return load(expr.PayloadBaseNetworkHeader, offset, size) }

func transport(offset, size uint32) field { return load(expr.PayloadBaseTransportHeader, offset, size) }

func port(n uint16) []byte { return binary.BigEndian.AppendUint16(nil, n) }

// protocol compares the protocol behind all headers of the packet.
func protocol(op expr.CmpOp, p byte) rule {
	return rule{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, &expr.Cmp{Op: op, Register: 1, Data: []byte{p}}}
}

func icmp6(kind byte) rule {
	return join(ether(etherIPv6), protocol(expr.CmpOpEq, protoICMPv6), transport(0, 1).is([]byte{kind}))
}

// field is bytes of a frame to compare: what loads them.
type field struct{ load rule }

func load(base expr.PayloadBase, offset, size uint32) field {
	return field{rule{&expr.Payload{DestRegister: 1, Base: base, Offset: offset, Len: size}}}
}

func (f field) is(v []byte) rule {
	return join(f.load, rule{&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: v}})
}

// between matches if the field of one byte is not outside of both.
func (f field) between(least, most byte) rule {
	return join(f.load, rule{&expr.Range{Op: expr.CmpOpEq, Register: 1, FromData: []byte{least}, ToData: []byte{most}}})
}

// not matches if the field is none of ok.
func (f field) not(ok ...[]byte) rule {
	out := slices.Clone(f.load)
	for _, v := range ok {
		out = append(out, &expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: v})
	}
	return out
}

func join(parts ...rule) rule { return slices.Concat(parts...) }
