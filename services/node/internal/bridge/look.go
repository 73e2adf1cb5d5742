package bridge

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"github.com/vishvananda/netlink"

	"slipway.dev/services/node/internal/hyper"
)

// rule is what one rule of a chain says.
type rule []expr.Any

// mark returns the comment that a rule carries in the kernel, by which a later look recognises it: a hash of what it
// says.
func mark(family nftables.TableFamily, r rule) ([]byte, error) {
	h := sha256.New()
	for _, e := range r {
		if l, ok := e.(*expr.Lookup); ok {
			e = &expr.Lookup{SourceRegister: l.SourceRegister, SetName: l.SetName} // the set's id is of one transaction
		}
		raw, err := expr.Marshal(byte(family), e)
		if err != nil {
			return nil, fmt.Errorf("encode rule: %w", err)
		}
		h.Write(raw)
	}
	return userdata.AppendString(nil, userdata.TypeComment, "slipway "+hex.EncodeToString(h.Sum(nil)[:8])), nil
}

// add queues a rule at the end of a chain.
func add(c *nftables.Conn, chain *nftables.Chain, r rule) error {
	m, err := mark(chain.Table.Family, r)
	if err != nil {
		return err
	}
	c.AddRule(&nftables.Rule{Table: chain.Table, Chain: chain, Exprs: r, UserData: m})
	return nil
}

// has reports whether a chain has exactly these rules, in this order. A chain that is not there has none.
func has(c *nftables.Conn, table *nftables.Table, chain string, want []rule) (bool, error) {
	list, err := c.GetRules(table, &nftables.Chain{Table: table, Name: chain})
	if err != nil {
		return false, fmt.Errorf("list rules of %s: %w", chain, err)
	}
	if len(list) != len(want) {
		return false, nil
	}
	for i, r := range list {
		m, err := mark(table.Family, want[i])
		if err != nil || !bytes.Equal(m, r.UserData) {
			return false, err
		}
	}
	return true, nil
}

// chainsOf lists the chains of the stack's table of one family.
func (b *Bridges) chainsOf(c *nftables.Conn, family nftables.TableFamily) ([]*nftables.Chain, error) {
	chains, err := c.ListChainsOfTableFamily(family)
	if err != nil {
		return nil, fmt.Errorf("list chains: %w", err)
	}
	return slices.DeleteFunc(chains, func(ch *nftables.Chain) bool { return ch.Table.Name != b.table }), nil
}

// hooked reports whether the kernel asks the chain of this name.
func hooked(chains []*nftables.Chain, name string) bool {
	return slices.ContainsFunc(chains, func(ch *nftables.Chain) bool { return ch.Name == name && ch.Hooknum != nil })
}

// Look lists the bridges that this stack made, and those that its rules name, with the addresses and translations that the kernel
// has for them. Addresses of a bridge that another program made are left out, as are those that the kernel gives to each link.
func (b *Bridges) Look() ([]hyper.Network, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	nat, err := b.translated()
	if err != nil {
		return nil, explain("list rules", err)
	}
	links, err := netlink.LinkList()
	if err != nil {
		return nil, explain("list links", err)
	}
	var list []hyper.Network
	for _, l := range links {
		n := hyper.Network{Name: l.Attrs().Name, NAT: nat[l.Attrs().Name]}
		delete(nat, n.Name)
		if l.Type() == "bridge" && b.ours(l) {
			if n.Addresses, err = addressesOf(l); err != nil && !gone(err) {
				return nil, explain("list addresses of "+n.Name, err)
			}
			n.Addresses = slices.DeleteFunc(n.Addresses, func(p netip.Prefix) bool { return p.Addr().IsLinkLocalUnicast() })
		}
		if len(n.Addresses)+len(n.NAT) > 0 {
			list = append(list, n)
		}
	}
	for name, prefixes := range nat {
		list = append(list, hyper.Network{Name: name, NAT: prefixes})
	}
	return list, nil
}

// translated returns the prefixes that the stack's rules translate, by the bridges that the rules name.
func (b *Bridges) translated() (map[string][]netip.Prefix, error) {
	c, err := nftables.New()
	if err != nil {
		return nil, err
	}
	table := &nftables.Table{Family: nftables.TableFamilyINet, Name: b.table}
	chains, err := b.chainsOf(c, table.Family)
	if err != nil || !hooked(chains, postroutingChain) {
		return nil, err
	}
	rules, err := c.GetRules(table, &nftables.Chain{Table: table, Name: postroutingChain})
	if err != nil {
		return nil, fmt.Errorf("list rules of %s: %w", postroutingChain, err)
	}
	list := map[string][]netip.Prefix{}
	for _, r := range rules {
		if p, name, ok := masqueraded(r.Exprs); ok {
			list[name] = append(list[name], p)
		}
	}
	return list, nil
}
