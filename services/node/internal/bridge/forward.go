package bridge

import (
	"bytes"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"slipway.dev/services/node/internal/hyper"
)

// forwarding makes the host route for the guests that use it as their gateway, and reports whether it did not.
func forwarding(n hyper.Network) (set bool, err error) {
	var v4, v6 bool
	for _, a := range n.Addresses {
		v4, v6 = v4 || a.Addr().Is4(), v6 || a.Addr().Is6()
	}
	if v4 {
		if set, err = sysctl("/proc/sys/net/ipv4/ip_forward"); err != nil {
			return set, err
		}
	}
	if !v6 {
		return set, nil
	}
	// A host that forwards ignores router advertisements by default: without this setting the host could lose its route.
	files, err := filepath.Glob("/proc/sys/net/ipv6/conf/*/accept_ra")
	if err != nil {
		return set, err
	}
	for _, f := range files {
		if have, err := os.ReadFile(f); err == nil && string(bytes.TrimSpace(have)) == "1" {
			if err := os.WriteFile(f, []byte("2"), 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return set, err
			}
		}
	}
	set6, err := sysctl("/proc/sys/net/ipv6/conf/all/forwarding")
	return set || set6, err
}

// sysctl sets a setting of the kernel to 1, and reports whether it was another.
func sysctl(path string) (set bool, err error) {
	have, err := os.ReadFile(path)
	if err != nil || string(bytes.TrimSpace(have)) == "1" {
		return false, err
	}
	return true, os.WriteFile(path, []byte("1"), 0)
}

// Chains of the stack's table of the family inet.
const (
	forwardChain     = "forward"
	postroutingChain = "postrouting"
)

// ensureRules makes the stack's table have exactly the rules that its networks need now, and reports whether the table
// had to be replaced, which is done in one transaction. An accept ends only our own chain: the administrator's firewall
// still applies.
func (b *Bridges) ensureRules() (set bool, err error) {
	c, err := nftables.New()
	if err != nil {
		return false, err
	}
	forward, postrouting := b.rules()
	table := &nftables.Table{Family: nftables.TableFamilyINet, Name: b.table}
	if good, err := b.ruled(c, table, forward, postrouting); good || err != nil {
		return false, err
	}
	c.AddTable(table)
	c.DelTable(table)
	if len(forward) == 0 {
		return true, c.Flush()
	}
	table = c.AddTable(table)
	for _, chain := range []struct {
		*nftables.Chain
		rules []rule
	}{
		{&nftables.Chain{
			Name: forwardChain, Table: table, Type: nftables.ChainTypeFilter,
			Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter,
		}, forward},
		{&nftables.Chain{
			Name: postroutingChain, Table: table, Type: nftables.ChainTypeNAT,
			Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource,
		}, postrouting},
	} {
		c.AddChain(chain.Chain)
		for _, r := range chain.rules {
			if err := add(c, chain.Chain, r); err != nil {
				return false, err
			}
		}
	}
	return true, c.Flush()
}

// ruled reports whether the table has exactly these rules.
func (b *Bridges) ruled(c *nftables.Conn, table *nftables.Table, forward, postrouting []rule) (bool, error) {
	chains, err := b.chainsOf(c, table.Family)
	if err != nil || len(forward) == 0 {
		return len(chains) == 0, err
	}
	if !hooked(chains, forwardChain) || !hooked(chains, postroutingChain) {
		return false, nil
	}
	good, err := has(c, table, forwardChain, forward)
	if err != nil || !good {
		return false, err
	}
	return has(c, table, postroutingChain, postrouting)
}

// rules are those that the networks need.
func (b *Bridges) rules() (forward, postrouting []rule) {
	for _, n := range b.sorted() {
		for _, key := range []expr.MetaKey{expr.MetaKeyIIFNAME, expr.MetaKeyOIFNAME} {
			forward = append(forward, rule{
				&expr.Meta{Key: key, Register: 1},
				&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: ifname(n.Name)},
				&expr.Counter{},
				&expr.Verdict{Kind: expr.VerdictAccept},
			})
		}
		for _, p := range n.NAT {
			postrouting = append(postrouting, masquerade(p.Masked(), n.Name))
		}
	}
	return forward, postrouting
}

// masquerade: from the prefix, and leaving by another way than the bridge.
func masquerade(p netip.Prefix, bridge string) rule {
	proto, offset, size := byte(2), uint32(12), uint32(4) // NFPROTO_IPV4, source address
	if p.Addr().Is6() {
		proto, offset, size = 10, 8, 16
	}
	mask := make([]byte, size)
	for i := range p.Bits() {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	return rule{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{proto}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: size},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: size, Mask: mask, Xor: make([]byte, size)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: p.Addr().AsSlice()},
		&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: ifname(bridge)},
		&expr.Counter{},
		&expr.Masq{},
	}
}

// masqueraded returns the prefix and the bridge of a rule that masquerade made. ok is false for any other rule.
func masqueraded(r rule) (p netip.Prefix, bridge string, ok bool) {
	var mask []byte
	var compared [][]byte
	for _, e := range r {
		switch e := e.(type) {
		case *expr.Bitwise:
			mask = e.Mask
		case *expr.Cmp:
			compared = append(compared, e.Data)
		}
	}
	if len(compared) != 3 { // family, prefix, bridge
		return p, "", false
	}
	addr, ok := netip.AddrFromSlice(compared[1])
	ones, _ := net.IPMask(mask).Size()
	return netip.PrefixFrom(addr, ones), nameOf(compared[2]), ok
}

// ifname returns a device name in the form that the kernel compares.
func ifname(s string) []byte {
	b := make([]byte, 16)
	copy(b, s)
	return b
}

// nameOf returns the device name in the form of ifname.
func nameOf(b []byte) string { return string(bytes.TrimRight(b, "\x00")) }
