package bridge

import (
	"bytes"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"slipway.dev/services/node/internal/hyper"
)

// forwarding makes the host route for the guests that use it as their gateway.
func forwarding(n hyper.Network) error {
	var v4, v6 bool
	for _, a := range n.Addresses {
		v4, v6 = v4 || a.Addr().Is4(), v6 || a.Addr().Is6()
	}
	if v4 {
		if err := sysctl("/proc/sys/net/ipv4/ip_forward"); err != nil {
			return err
		}
	}
	if !v6 {
		return nil
	}
	// A host that forwards ignores router advertisements by default: without this setting the host could lose its route.
	files, err := filepath.Glob("/proc/sys/net/ipv6/conf/*/accept_ra")
	if err != nil {
		return err
	}
	for _, f := range files {
		if have, err := os.ReadFile(f); err == nil && string(bytes.TrimSpace(have)) == "1" {
			if err := os.WriteFile(f, []byte("2"), 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return sysctl("/proc/sys/net/ipv6/conf/all/forwarding")
}

func sysctl(path string) error {
	have, err := os.ReadFile(path)
	if err != nil || string(bytes.TrimSpace(have)) == "1" {
		return err
	}
	return os.WriteFile(path, []byte("1"), 0)
}

// applyRules replaces the stack's table in one transaction by the rules that its networks need now. An accept ends only our own
// chain: the administrator's firewall still applies.
func (b *Bridges) applyRules() error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	table := c.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: b.table})
	c.DelTable(table)
	if len(b.nets) == 0 {
		return c.Flush()
	}
	table = c.AddTable(table)
	forward := c.AddChain(&nftables.Chain{
		Name: "forward", Table: table, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter,
	})
	postrouting := c.AddChain(&nftables.Chain{
		Name: "postrouting", Table: table, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource,
	})
	for _, n := range b.sorted() {
		for _, key := range []expr.MetaKey{expr.MetaKeyIIFNAME, expr.MetaKeyOIFNAME} {
			c.AddRule(&nftables.Rule{Table: table, Chain: forward, Exprs: []expr.Any{
				&expr.Meta{Key: key, Register: 1},
				&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: ifname(n.Name)},
				&expr.Counter{},
				&expr.Verdict{Kind: expr.VerdictAccept},
			}})
		}
		for _, p := range n.NAT {
			c.AddRule(&nftables.Rule{Table: table, Chain: postrouting, Exprs: masquerade(p.Masked(), n.Name)})
		}
	}
	return c.Flush()
}

// masquerade: from the prefix, and leaving by another way than the bridge.
func masquerade(p netip.Prefix, bridge string) []expr.Any {
	proto, offset, size := byte(2), uint32(12), uint32(4) // NFPROTO_IPV4, source address
	if p.Addr().Is6() {
		proto, offset, size = 10, 8, 16
	}
	mask := make([]byte, size)
	for i := range p.Bits() {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	return []expr.Any{
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

// ifname returns a device name in the form that the kernel compares.
func ifname(s string) []byte {
	b := make([]byte, 16)
	copy(b, s)
	return b
}
