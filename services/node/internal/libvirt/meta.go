package libvirt

import (
	"encoding/xml"
	"fmt"
	"net"
	"net/netip"

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
}

// guard is a card that may only use its own addresses. It is stored in the definition, so that every start can set the rules.
type guard struct {
	Tap       string   `xml:"tap,attr"`
	MAC       string   `xml:"mac,attr"`
	Addresses []string `xml:"address"`
}

func newMetadata(m hyper.Machine) metadata {
	out := metadata{XMLName: xml.Name{Space: metaNS, Local: "machine"}, Stack: m.Meta.StackID, Node: m.Meta.NodeID, Host: m.Meta.HostID, Fence: m.Meta.Fence}
	for i, n := range m.NICs {
		out.Bridges = append(out.Bridges, n.Network)
		if !n.AntiSpoofing {
			continue
		}
		g := guard{Tap: hyper.TapName(m.Meta.StackID, m.UUID, i), MAC: n.MAC.String()}
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
	n := hyper.NIC{MAC: mac, AntiSpoofing: true}
	for _, s := range g.Addresses {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return hyper.NIC{}, err
		}
		n.Addresses = append(n.Addresses, a)
	}
	return n, nil
}
