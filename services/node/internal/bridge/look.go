package bridge

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
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
