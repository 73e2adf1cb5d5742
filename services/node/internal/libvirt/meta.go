package libvirt

import (
	"encoding/xml"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"slipway.dev/services/node/internal/hyper"
)

// Our element in a definition. Its namespace and stack id are the proof that a domain is ours.
const metaNS = "https://slipway.dev/xmlns/machine/1"

type metadata struct {
	XMLName xml.Name // no tag: libvirt finds it by its namespace and hands it out without
	Stack   string   `xml:"stack"`
	Node    string   `xml:"node"`
	Host    int32    `xml:"host"`
	Fence   int64    `xml:"fence"`
	Guards  []guard  `xml:"guard"`
	Bridges []string `xml:"bridge"`
	Cards   []card   `xml:"card"` // as many as bridges; none in a definition by an older agent
}

// card is what a machine needs of a bridge. It is stored in the definition, so that nothing else has to remember it.
type card struct {
	Known     bool     `xml:"known,attr"` // the control plane said what the guest needs of the node
	Guests    []string `xml:"guest"`
	Addresses []string `xml:"address"`
	NAT       []string `xml:"nat"`
}

// guard is a card with rules or limits. It is stored in the definition, so that every start can set them.
type guard struct {
	Tap       string   `xml:"tap,attr"`
	MAC       string   `xml:"mac,attr"`
	Free      bool     `xml:"free,attr,omitempty"` // it may use other addresses than its own
	In        int      `xml:"in,attr,omitempty"`   // Mbit/s
	Out       int      `xml:"out,attr,omitempty"`
	Addresses []string `xml:"address"`
	Rules     []ruling `xml:"rule"`
}

// ruling is a rule of a card's firewall.
type ruling struct {
	Drop      bool   `xml:"drop,attr,omitempty"`
	Out       bool   `xml:"out,attr,omitempty"`
	Protocols string `xml:"protocols,attr,omitempty"` // with spaces between
	From      int    `xml:"from,attr,omitempty"`
	To        int    `xml:"to,attr,omitempty"`
}

func newMetadata(m hyper.Machine) metadata {
	out := metadata{XMLName: xml.Name{Space: metaNS, Local: "machine"}, Stack: m.Meta.StackID, Node: m.Meta.NodeID, Host: m.Meta.HostID, Fence: m.Meta.Fence}
	for i, n := range m.NICs {
		out.Bridges = append(out.Bridges, n.Network)
		out.Cards = append(out.Cards, newCard(n))
		if !n.AntiSpoofing && n.InMbit+n.OutMbit+len(n.Firewall) == 0 {
			continue
		}
		g := guard{
			Tap: hyper.TapName(m.Meta.StackID, m.UUID, i), MAC: n.MAC.String(), Free: !n.AntiSpoofing, In: n.InMbit, Out: n.OutMbit,
		}
		for _, r := range n.Firewall {
			g.Rules = append(g.Rules, ruling{r.Drop, r.Out, strings.Join(r.Protocols, " "), r.From, r.To})
		}
		for _, a := range n.Addresses {
			g.Addresses = append(g.Addresses, a.String())
		}
		out.Guards = append(out.Guards, g)
	}
	return out
}

func (m metadata) encode() (string, error) {
	b, err := xml.Marshal(m)
	return string(b), err
}

func decodeMetadata(s string) (metadata, error) {
	var m metadata
	if err := xml.Unmarshal([]byte(s), &m); err != nil {
		return m, fmt.Errorf("read metadata: %w", err)
	}
	return m, nil
}

func (m metadata) meta() hyper.Meta {
	return hyper.Meta{StackID: m.Stack, NodeID: m.Node, HostID: m.Host, Fence: m.Fence}
}

func (g guard) nic() (hyper.NIC, error) {
	mac, err := net.ParseMAC(g.MAC)
	if err != nil {
		return hyper.NIC{}, err
	}
	n := hyper.NIC{MAC: mac, AntiSpoofing: !g.Free, InMbit: g.In, OutMbit: g.Out}
	for _, r := range g.Rules {
		n.Firewall = append(n.Firewall, hyper.Rule{
			Drop: r.Drop, Out: r.Out, Protocols: strings.Fields(r.Protocols), From: r.From, To: r.To,
		})
	}
	for _, s := range g.Addresses {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return hyper.NIC{}, err
		}
		n.Addresses = append(n.Addresses, a)
	}
	return n, nil
}

func newCard(n hyper.NIC) card {
	c := card{Guests: texts(n.Addresses)}
	if s := n.NodeSide; s != nil {
		c.Known, c.Addresses, c.NAT = true, texts(s.Addresses), texts(s.NAT)
	}
	return c
}

func texts[T fmt.Stringer](list []T) (out []string) {
	for _, v := range list {
		out = append(out, v.String())
	}
	return out
}

// nics returns what the machine needs of its bridges.
func (m metadata) nics() (list []hyper.NIC, err error) {
	for i, name := range m.Bridges {
		n := hyper.NIC{Network: name}
		if i < len(m.Cards) {
			c := m.Cards[i]
			if n.Addresses, err = parsed(c.Guests, netip.ParseAddr); err != nil {
				return nil, err
			}
			if c.Known {
				n.NodeSide = &hyper.NodeSide{}
				if n.NodeSide.Addresses, err = parsed(c.Addresses, netip.ParsePrefix); err != nil {
					return nil, err
				}
				if n.NodeSide.NAT, err = parsed(c.NAT, netip.ParsePrefix); err != nil {
					return nil, err
				}
			}
		}
		list = append(list, n)
	}
	return list, nil
}

func parsed[T any](list []string, parse func(string) (T, error)) (out []T, err error) {
	for _, text := range list {
		v, err := parse(text)
		if err != nil {
			return nil, fmt.Errorf("read card: %w", err)
		}
		out = append(out, v)
	}
	return out, nil
}
