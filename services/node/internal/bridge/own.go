package bridge

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"

	"slipway.dev/services/node/internal/hyper"
)

// held is an address that the node has on one of its links.
type held struct {
	link   string
	prefix netip.Prefix
}

// free returns a fault if the node is in one of the requested networks by a link that is not a bridge of the guests, or
// has one of the guests' addresses. Without the first rule the node would answer for its own router. A network that the
// bridge carries already is not refused.
func (b *Bridges) free(n hyper.Network) error {
	if len(n.Addresses)+len(n.Guests) == 0 {
		return nil
	}
	own, err := holds(n.Name)
	if err != nil {
		return explain("list addresses", err)
	}
	for _, h := range own {
		if i := slices.Index(n.Guests, h.prefix.Addr()); i >= 0 {
			return hyper.ErrNodeAddress.With("the node itself has the address %s", h.prefix.Addr()).
				On(fmt.Sprintf("guests[%d]", i)).Wrap(fmt.Errorf("on %s", h.link))
		}
		for i, p := range n.Addresses {
			if h.prefix.Addr() == p.Addr() || overlap(h.prefix, p) && !slices.Contains(b.nets[n.Name].Addresses, p) {
				return hyper.ErrNodeNetwork.
					With("the network %s overlaps with %s, in which the node itself is", p.Masked(), h.prefix.Masked()).
					On(fmt.Sprintf("addresses[%d]", i)).Wrap(fmt.Errorf("%s on %s", h.prefix, h.link))
			}
		}
	}
	return nil
}

// overlap reports whether the two are parts of the same network. A single address is in no network.
func overlap(a, b netip.Prefix) bool {
	return !a.IsSingleIP() && !b.IsSingleIP() && a.Overlaps(b)
}

// holds lists the addresses of all links but the bridge of this name and the bridges of other stacks.
func holds(bridge string) ([]held, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, err
	}
	names := map[int]string{}
	for _, l := range links {
		if a := l.Attrs(); a.Name != bridge && !strings.HasPrefix(a.Alias, aliasOfAll) {
			names[a.Index] = a.Name
		}
	}
	list, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil, err
	}
	var out []held
	for _, a := range list {
		p := prefix(a.IPNet)
		if name, of := names[a.LinkIndex]; of && !p.Addr().IsLinkLocalUnicast() {
			out = append(out, held{name, p})
		}
	}
	return out, nil
}
