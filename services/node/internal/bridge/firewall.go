package bridge

import (
	"encoding/binary"
	"slices"

	"github.com/google/nftables/expr"

	"slipway.dev/pkg/clamp"
	"slipway.dev/services/node/internal/hyper"
)

const (
	protoICMP = 1
	protoTCP  = 6

	flagsOf   = 13   // offset of the flags in a header of TCP
	opening   = 0x02 // SYN
	openFlags = 0x12 // SYN and ACK
)

// outRules are the rules for what comes from the guest: its own addresses alone, its bandwidth, its firewall.
func outRules(n hyper.NIC) (list []rule) {
	if n.AntiSpoofing {
		list = guardRules(n)
	}
	if n.OutMbit > 0 {
		list = append(list, rule{beyond(n.OutMbit), &expr.Counter{}, &expr.Verdict{Kind: expr.VerdictDrop}})
	}
	return append(list, firewallRules(n, true)...)
}

// inRules are the rules for what goes to the guest.
func inRules(n hyper.NIC) []rule { return firewallRules(n, false) }

// beyond matches what exceeds a rate. The kernel's bucket holds a second besides the burst, which is for the largest segments
// that a card hands over.
func beyond(mbit int) expr.Any {
	rate := bytesOf(mbit)
	return &expr.Limit{
		Type: expr.LimitTypePktBytes, Rate: rate, Unit: expr.LimitTimeSecond, Over: true, Burst: burst,
	}
}

// bytesOf returns Mbit/s as bytes in a second.
func bytesOf(mbit int) uint64 { return uint64(clamp.Uint(mbit)) * 1_000_000 / 8 }

// burst is more than the largest segment.
const burst = 128 << 10

// firewallRules are the rules of one direction, in their order. They are about packets of IPv4 and IPv6; what the network
// itself needs, such as ARP and neighbour discovery, passes.
func firewallRules(n hyper.NIC, out bool) (list []rule) {
	for _, r := range n.Firewall {
		if r.Out != out {
			continue
		}
		verdict := expr.VerdictReturn
		if r.Drop {
			verdict = expr.VerdictDrop
		}
		for _, when := range matches(r) {
			list = append(list, append(when, &expr.Counter{}, &expr.Verdict{Kind: verdict}))
		}
	}
	// Parts of a packet may hide what it opens. TCP itself never needs fragments.
	if slices.ContainsFunc(n.Firewall, func(r hyper.Rule) bool { return r.Out == out && r.Drop && about(r, hyper.TCP) }) {
		parts := fragments()
		for i := range parts {
			parts[i] = append(parts[i], &expr.Counter{}, &expr.Verdict{Kind: expr.VerdictDrop})
		}
		list = append(parts, list...)
	}
	return list
}

func about(r hyper.Rule, protocol string) bool {
	return len(r.Protocols) == 0 || slices.Contains(r.Protocols, protocol)
}

// fragments match parts of packets of TCP.
func fragments() []rule {
	return []rule{
		join(ether(etherIP), protocol(expr.CmpOpEq, protoTCP), rule{
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 6, Len: 2},
			&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 2, Mask: []byte{0x3f, 0xff}, Xor: []byte{0, 0}},
			&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: []byte{0, 0}},
		}),
		join(ether(etherIPv6), field{rule{&expr.Exthdr{
			DestRegister: 1, Type: headerFragment, Len: 1, Op: expr.ExthdrOpIpv6,
		}}}.is([]byte{protoTCP})),
	}
}

// matches are the conditions under which a rule applies to a packet: one of them is enough.
func matches(r hyper.Rule) (list []rule) {
	if about(r, hyper.TCP) {
		list = append(list, join(protocol(expr.CmpOpEq, protoTCP), ports(r), opens()))
	}
	if len(r.Protocols) == 0 {
		return append(list,
			join(ether(etherIP), protocol(expr.CmpOpNeq, protoTCP)),
			join(ether(etherIPv6), protocol(expr.CmpOpNeq, protoTCP), protocol(expr.CmpOpNeq, protoICMPv6)),
			messages())
	}
	if about(r, hyper.UDP) {
		list = append(list, join(protocol(expr.CmpOpEq, protoUDP), ports(r)))
	}
	if about(r, hyper.ICMP) {
		list = append(list, join(ether(etherIP), protocol(expr.CmpOpEq, protoICMP)), messages())
	}
	return list
}

// messages matches ICMPv6 but for neighbour discovery.
func messages() rule {
	return join(ether(etherIPv6), protocol(expr.CmpOpEq, protoICMPv6), transport(0, 1).load, rule{&expr.Range{
		Op: expr.CmpOpNeq, Register: 1, FromData: []byte{routerSolicitation}, ToData: []byte{redirect},
	}})
}

// ports matches the port of the destination, if the rule is about some.
func ports(r hyper.Rule) rule {
	if r.To == 0 {
		return nil
	}
	at := func(n int) []byte { return binary.BigEndian.AppendUint16(nil, uint16(n)) } // #nosec G115 -- checked
	return join(transport(2, 2).load, rule{&expr.Range{Op: expr.CmpOpEq, Register: 1, FromData: at(r.From), ToData: at(r.To)}})
}

// opens matches a packet of TCP that opens a connection.
func opens() rule {
	return join(transport(flagsOf, 1).load, rule{
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 1, Mask: []byte{openFlags}, Xor: []byte{0}},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{opening}},
	})
}
