package bridge

import (
	"errors"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"slipway.dev/services/node/internal/hyper"
)

// The guard is a table of the bridge family with two chains that the kernel asks: for what comes from a tap and for what goes
// to one. Each has a map from tap to a chain of the tap's own, so that the cost does not grow with the number of machines and
// no machine's rules can break another's. A frame that no rule drops passes.
const (
	guardChain = "guard"
	guardMap   = "taps"
	enterChain = "enter"
	enterMap   = "inward"
)

// side is one direction of the guard.
type side struct {
	chain, names string // the chain that the kernel asks, and its map
	hook         *nftables.ChainHook
	key          expr.MetaKey
	own          func(tap string) string // the chain of a tap
	rules        func(hyper.NIC) []rule
}

// sides are the directions: from the guest, before the bridge learns the sender; and to it, also from the node itself.
var sides = []side{
	{guardChain, guardMap, nftables.ChainHookPrerouting, expr.MetaKeyIIFNAME, func(tap string) string { return tap }, outRules},
	{enterChain, enterMap, nftables.ChainHookPostrouting, expr.MetaKeyOIFNAME, func(tap string) string { return tap + "-in" }, inRules},
}

// Guard gives the tap the rules of its card: its own MAC and addresses alone (Ethernet, IPv4, IPv6, ARP, neighbour discovery;
// no DHCP server, no router, no other protocols) where the card is limited to them, its firewall, and the bandwidth of what it
// sends. All of them change at once. It may be called before the tap exists.
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
	table := c.AddTable(b.guardTable())
	for _, s := range sides {
		if err := s.guard(c, table, tap, n); err != nil {
			return err
		}
	}
	return c.Flush()
}

// guard queues the rules of one direction.
func (s side) guard(c *nftables.Conn, table *nftables.Table, tap string, n hyper.NIC) error {
	taps := s.taps(table)
	if err := c.AddSet(taps, nil); err != nil {
		return err
	}
	accept := nftables.ChainPolicyAccept
	base := c.AddChain(&nftables.Chain{
		Name: s.chain, Table: table, Type: nftables.ChainTypeFilter, Policy: &accept,
		Hooknum: s.hook, Priority: nftables.ChainPriorityRef(-300),
	})
	chain := c.AddChain(&nftables.Chain{Name: s.own(tap), Table: table})
	c.FlushChain(base)
	c.FlushChain(chain)
	err := add(c, base, s.dispatch(taps))
	for _, r := range s.rules(n) {
		err = errors.Join(err, add(c, chain, r))
	}
	if err != nil {
		return err
	}
	return c.SetAddElements(taps, []nftables.SetElement{s.element(tap)})
}

// taps is the map from tap to chain.
func (s side) taps(table *nftables.Table) *nftables.Set {
	return &nftables.Set{
		Table: table, Name: s.names, IsMap: true, KeyType: nftables.TypeIFName, DataType: nftables.TypeVerdict,
	}
}

func (s side) element(tap string) nftables.SetElement {
	return nftables.SetElement{Key: ifname(tap), VerdictData: &expr.Verdict{Kind: expr.VerdictJump, Chain: s.own(tap)}}
}

// dispatch sends a frame to the chain of its tap.
func (s side) dispatch(taps *nftables.Set) rule {
	return rule{
		&expr.Meta{Key: s.key, Register: 1},
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
	table := b.guardTable()
	chains, err := b.chainsOf(c, nftables.TableFamilyBridge)
	if err != nil {
		return err
	}
	for _, s := range sides {
		if !slices.ContainsFunc(chains, func(ch *nftables.Chain) bool { return ch.Name == s.own(tap) }) {
			continue
		}
		taps, err := c.GetSetByName(table, s.names)
		if err != nil {
			return err
		}
		if err := c.SetDeleteElements(taps, []nftables.SetElement{s.element(tap)}); err != nil {
			return err
		}
		c.DelChain(&nftables.Chain{Name: s.own(tap), Table: table})
	}
	return c.Flush()
}

// Guarded lists the taps that have rules, by the chains in the kernel.
func (b *Bridges) Guarded() (taps []string, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c, err := nftables.New()
	if err != nil {
		return nil, err
	}
	chains, err := b.chainsOf(c, nftables.TableFamilyBridge)
	for _, ch := range chains {
		if ch.Hooknum == nil {
			taps = append(taps, strings.TrimSuffix(ch.Name, "-in"))
		}
	}
	slices.Sort(taps)
	return slices.Compact(taps), explain("list the guard", err)
}

// dropIdleGuard removes the guard's table if it guards no tap.
func (b *Bridges) dropIdleGuard() error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	chains, err := b.chainsOf(c, nftables.TableFamilyBridge)
	if err != nil || len(chains) == 0 || slices.ContainsFunc(chains, func(ch *nftables.Chain) bool { return ch.Hooknum == nil }) {
		return err // none: no table; one without a hook: a tap is guarded
	}
	c.DelTable(b.guardTable())
	return c.Flush()
}
