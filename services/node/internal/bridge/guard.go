package bridge

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"slipway.dev/services/node/internal/hyper"
)

// The guard is a table of the bridge family: a map from tap to its own chain, so that the cost does not grow with the
// number of machines and no machine's rules can break another's. Rules only drop: a frame that none of them drops passes.
const (
	guardChain = "guard"
	guardMap   = "taps"
)

// Guard limits the tap to its own MAC and addresses: Ethernet, IPv4, IPv6, ARP, neighbour advertisements; no DHCP
// server, no router advertisements, no other protocols. It may be called before the tap exists.
func (b *Bridges) Guard(tap string, n hyper.NIC) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return explain("guard "+tap, b.guard(tap, n))
}

func (b *Bridges) guard(tap string, n hyper.NIC) error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	table := &nftables.Table{Family: nftables.TableFamilyBridge, Name: b.table}
	there, err := b.hasChain(c, guardChain)
	if err != nil {
		return err
	}
	c.AddTable(table)
	taps := &nftables.Set{Table: table, Name: guardMap, IsMap: true, KeyType: nftables.TypeIFName, DataType: nftables.TypeVerdict}
	if err := c.AddSet(taps, nil); err != nil {
		return err
	}
	accept := nftables.ChainPolicyAccept
	base := c.AddChain(&nftables.Chain{
		Name: guardChain, Table: table, Type: nftables.ChainTypeFilter, Policy: &accept,
		Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityRef(-300),
	})
	if !there {
		c.AddRule(&nftables.Rule{Table: table, Chain: base, Exprs: []expr.Any{
			&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1},
			&expr.Lookup{SourceRegister: 1, DestRegister: 0, IsDestRegSet: true, SetName: taps.Name, SetID: taps.ID},
		}})
	}
	chain := c.AddChain(&nftables.Chain{Name: tap, Table: table})
	c.FlushChain(chain)
	for _, e := range guardRules(n) {
		c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: append(e, &expr.Counter{}, &expr.Verdict{Kind: expr.VerdictDrop})})
	}
	if err := c.SetAddElements(taps, []nftables.SetElement{{
		Key: ifname(tap), VerdictData: &expr.Verdict{Kind: expr.VerdictJump, Chain: tap},
	}}); err != nil {
		return err
	}
	return c.Flush()
}

// Unguard removes the tap's rules; it succeeds if there are none.
func (b *Bridges) Unguard(taps ...string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, tap := range taps {
		if err := b.unguard(tap); err != nil {
			return explain("unguard "+tap, err)
		}
	}
	return nil
}

func (b *Bridges) unguard(tap string) error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	table := &nftables.Table{Family: nftables.TableFamilyBridge, Name: b.table}
	if there, err := b.hasChain(c, tap); err != nil || !there {
		return err
	}
	taps, err := c.GetSetByName(table, guardMap)
	if err != nil {
		return err
	}
	if err := c.SetDeleteElements(taps, []nftables.SetElement{{
		Key: ifname(tap), VerdictData: &expr.Verdict{Kind: expr.VerdictJump, Chain: tap},
	}}); err != nil {
		return err
	}
	c.DelChain(&nftables.Chain{Name: tap, Table: table})
	return c.Flush()
}

// dropIdleGuard removes the guard's table if it guards no tap.
func (b *Bridges) dropIdleGuard() error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	chains, err := c.ListChainsOfTableFamily(nftables.TableFamilyBridge)
	if err != nil {
		return err
	}
	chains = slices.DeleteFunc(chains, func(ch *nftables.Chain) bool { return ch.Table.Name != b.table })
	if len(chains) != 1 {
		return nil // none: no table; more: a tap is guarded
	}
	c.DelTable(&nftables.Table{Family: nftables.TableFamilyBridge, Name: b.table})
	return c.Flush()
}

// hasChain lists all chains, because the error for a missing chain looks like any other error.
func (b *Bridges) hasChain(c *nftables.Conn, name string) (bool, error) {
	chains, err := c.ListChainsOfTableFamily(nftables.TableFamilyBridge)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(chains, func(ch *nftables.Chain) bool {
		return ch.Name == name && ch.Table.Name == b.table
	}), nil
}

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

// guardRules are the conditions under which a frame from the tap is dropped.
func guardRules(n hyper.NIC) [][]expr.Any {
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
	ether := func(t []byte) []expr.Any { return load(expr.PayloadBaseLLHeader, 12, 2).is(t) }
	l4 := func(t []byte, proto, first byte) []expr.Any { // ICMPv6 type
		return join(ether(t), []expr.Any{
			&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{proto}},
		}, load(expr.PayloadBaseTransportHeader, 0, 1).is([]byte{first}))
	}
	port := func(t []byte, port uint16) []expr.Any {
		return join(ether(t), []expr.Any{
			&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{protoUDP}},
		}, load(expr.PayloadBaseTransportHeader, 0, 2).is(binary.BigEndian.AppendUint16(nil, port)))
	}
	network := func(offset, size uint32, ok ...[]byte) []expr.Any {
		return load(expr.PayloadBaseNetworkHeader, offset, size).not(ok...)
	}
	return [][]expr.Any{
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

func (f field) is(v []byte) []expr.Any {
	return []expr.Any{&f.p, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: v}}
}

// not matches if the field is none of ok.
func (f field) not(ok ...[]byte) []expr.Any {
	out := []expr.Any{&f.p}
	for _, v := range ok {
		out = append(out, &expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: v})
	}
	return out
}

func join(parts ...[]expr.Any) []expr.Any {
	var out []expr.Any
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}
