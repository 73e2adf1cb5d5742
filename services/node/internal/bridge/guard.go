package bridge

import (
	"errors"
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

// Guard limits the tap to its own MAC and addresses: Ethernet, IPv4, IPv6, ARP, neighbour discovery; no DHCP server, no
// router, no other protocols. It may be called before the tap exists.
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
	taps := b.taps()
	c.AddTable(taps.Table)
	if err := c.AddSet(taps, nil); err != nil {
		return err
	}
	accept := nftables.ChainPolicyAccept
	base := c.AddChain(&nftables.Chain{
		Name: guardChain, Table: taps.Table, Type: nftables.ChainTypeFilter, Policy: &accept,
		Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityRef(-300),
	})
	chain := c.AddChain(&nftables.Chain{Name: tap, Table: taps.Table})
	c.FlushChain(base)
	c.FlushChain(chain)
	err = add(c, base, dispatch(taps))
	for _, r := range guardRules(n) {
		err = errors.Join(err, add(c, chain, r))
	}
	if err != nil {
		return err
	}
	if err := c.SetAddElements(taps, []nftables.SetElement{{
		Key: ifname(tap), VerdictData: &expr.Verdict{Kind: expr.VerdictJump, Chain: tap},
	}}); err != nil {
		return err
	}
	return c.Flush()
}

// taps is the map from tap to chain.
func (b *Bridges) taps() *nftables.Set {
	return &nftables.Set{
		Table: &nftables.Table{Family: nftables.TableFamilyBridge, Name: b.table},
		Name:  guardMap, IsMap: true, KeyType: nftables.TypeIFName, DataType: nftables.TypeVerdict,
	}
}

// dispatch sends a frame to the chain of its tap.
func dispatch(taps *nftables.Set) rule {
	return rule{
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1},
		&expr.Lookup{SourceRegister: 1, DestRegister: 0, IsDestRegSet: true, SetName: taps.Name, SetID: taps.ID},
	}
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
	chains, err := b.chainsOf(c, nftables.TableFamilyBridge)
	if err != nil || !slices.ContainsFunc(chains, func(ch *nftables.Chain) bool { return ch.Name == tap }) {
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
	chains, err := b.chainsOf(c, nftables.TableFamilyBridge)
	if err != nil || len(chains) != 1 {
		return err // none: no table; more: a tap is guarded
	}
	c.DelTable(&nftables.Table{Family: nftables.TableFamilyBridge, Name: b.table})
	return c.Flush()
}
