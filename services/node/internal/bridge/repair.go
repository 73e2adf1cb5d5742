package bridge

import (
	"errors"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"

	"slipway.dev/services/node/internal/hyper"
)

// Repair looks at all networks, and puts back what other programs took from them: bridges, addresses, forwarding,
// rules. It returns what that was.
func (b *Bridges) Repair() (hyper.Repairs, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	done := hyper.Repairs{}
	errs := []error{b.adopt()}
	for _, n := range b.sorted() {
		r, err := b.settle(n)
		done.Add(r)
		errs = append(errs, err)
	}
	set, err := b.ensureRules()
	if set && err == nil {
		done["rules"]++
	}
	return done, errors.Join(append(errs, explain("set rules", err))...)
}

// Plug plugs the tap of a running machine into its bridge again, and reports whether it was not: a bridge that another
// program removed comes back without its ports.
func (b *Bridges) Plug(tap, name string) (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	port, err := netlink.LinkByName(tap)
	if gone(err) {
		return false, nil // the machine is being stopped
	}
	if err != nil {
		return false, explain("find "+tap, err)
	}
	link, err := netlink.LinkByName(name)
	if err != nil {
		return false, explain("find bridge "+name, err)
	}
	if port.Attrs().MasterIndex == link.Attrs().Index {
		return false, nil
	}
	return true, explain("plug in "+tap, netlink.LinkSetMaster(port, link))
}

// Guards is what the kernel had of the guard when it was looked at.
type Guards struct {
	base bool              // the kernel asks the guard for each frame
	taps []map[string]bool // that each of the sides sends to a chain of their own
}

// Guards looks at the guard.
func (b *Bridges) Guards() (*Guards, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c, err := nftables.New()
	if err != nil {
		return nil, err
	}
	return b.lookAtGuards(c)
}

func (b *Bridges) lookAtGuards(c *nftables.Conn) (*Guards, error) {
	g := &Guards{}
	chains, err := b.chainsOf(c, nftables.TableFamilyBridge)
	if err != nil {
		return g, err
	}
	table := b.guardTable()
	for _, s := range sides {
		if !hooked(chains, s.chain) {
			return g, nil
		}
		taps := s.taps(table)
		if good, err := has(c, table, s.chain, []rule{s.dispatch(taps)}); err != nil || !good {
			return g, err
		}
		elements, err := c.GetSetElements(taps)
		if err != nil {
			return g, err
		}
		names := map[string]bool{}
		for _, e := range elements {
			names[nameOf(e.Key)] = true
		}
		g.taps = append(g.taps, names)
	}
	g.base = true
	return g, nil
}

// guardTable is the table of the guard.
func (b *Bridges) guardTable() *nftables.Table {
	return &nftables.Table{Family: nftables.TableFamilyBridge, Name: b.table}
}

// holds reports whether the tap has exactly the rules of its card.
func (g *Guards) holds(c *nftables.Conn, table *nftables.Table, tap string, n hyper.NIC) (bool, error) {
	if !g.base {
		return false, nil
	}
	for i, s := range sides {
		if !g.taps[i][tap] {
			return false, nil
		}
		if good, err := has(c, table, s.own(tap), s.rules(n)); err != nil || !good {
			return false, err
		}
	}
	return true, nil
}

// Mend guards a tap again that the guard has lost since Guard, and reports whether it had. seen is an earlier look,
// which spares another one where it shows the tap.
func (b *Bridges) Mend(seen *Guards, tap string, n hyper.NIC) (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c, err := nftables.New()
	if err != nil {
		return false, err
	}
	table := b.guardTable()
	good, err := seen.holds(c, table, tap, n)
	if err == nil && !good {
		var now *Guards // the earlier look may be from before Guard
		if now, err = b.lookAtGuards(c); err == nil {
			good, err = now.holds(c, table, tap, n)
		}
	}
	if good || err != nil {
		return false, explain("look at the guard of "+tap, err)
	}
	return true, explain("guard "+tap, b.guard(tap, n))
}
