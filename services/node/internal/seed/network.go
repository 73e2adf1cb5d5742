package seed

import (
	"encoding/json"
	"fmt"
	"net/netip"

	"slipway.dev/services/node/internal/hyper"
)

type netConfig struct {
	Version   int                 `json:"version"`
	Ethernets map[string]ethernet `json:"ethernets"`
}

type ethernet struct {
	Match       match        `json:"match"`
	SetName     string       `json:"set-name"`
	DHCP4       bool         `json:"dhcp4"`
	DHCP6       bool         `json:"dhcp6"`
	MTU         int          `json:"mtu,omitempty"`
	Addresses   []string     `json:"addresses,omitempty"`
	Gateway4    string       `json:"gateway4,omitempty"`
	Gateway6    string       `json:"gateway6,omitempty"`
	Routes      []route      `json:"routes,omitempty"`
	Nameservers *nameservers `json:"nameservers,omitempty"`
}

type match struct {
	MAC string `json:"macaddress"`
}

// route leads to a gateway that is on the link, although no address of the link covers it. Via is the unspecified
// address: cloud-init 22.4 fails on a route without via.
type route struct {
	To    string `json:"to"`
	Via   string `json:"via"`
	Scope string `json:"scope"`
}

type nameservers struct {
	Addresses []string `json:"addresses,omitempty"`
	Search    []string `json:"search,omitempty"`
}

// networkConfig returns the network configuration in version 2 of cloud-init's format, with all name servers at the first
// link. The default routes are gateway4 and gateway6: before 23.1 every renderer but netplan made ::/64 of a route to ::/0.
// A gateway that no address covers gets a route of its own, which netplan and networkd need; ifupdown and NetworkManager
// take such a gateway for one on the link.
func networkConfig(s hyper.Seed) netConfig {
	c := netConfig{Version: 2, Ethernets: map[string]ethernet{}}
	for i, l := range s.Links {
		e := ethernet{Match: match{MAC: l.MAC.String()}, SetName: fmt.Sprintf("eth%d", i), MTU: l.MTU}
		for _, a := range l.Addresses {
			e.Addresses = append(e.Addresses, a.String())
		}
		for _, g := range l.Gateways {
			if g.Is4() {
				e.Gateway4 = g.String()
			} else {
				e.Gateway6 = g.String()
			}
			if !within(g, l.Addresses) {
				e.Routes = append(e.Routes, onLink(g))
			}
		}
		if i == 0 && len(s.DNS)+len(s.Search) > 0 {
			e.Nameservers = &nameservers{Search: s.Search}
			for _, d := range s.DNS {
				e.Nameservers.Addresses = append(e.Nameservers.Addresses, d.String())
			}
		}
		c.Ethernets[fmt.Sprintf("id%d", i)] = e
	}
	return c
}

// onLink returns the route to a gateway that no address covers.
func onLink(g netip.Addr) route {
	r := route{To: netip.PrefixFrom(g, g.BitLen()).String(), Via: netip.IPv6Unspecified().String(), Scope: "link"}
	if g.Is4() {
		r.Via = netip.IPv4Unspecified().String()
	}
	return r
}

func within(g netip.Addr, in []netip.Prefix) bool {
	if g.IsLinkLocalUnicast() {
		return true
	}
	for _, p := range in {
		if p.Contains(g) && !p.IsSingleIP() {
			return true
		}
	}
	return false
}

// Addresses returns the addresses of all links.
func (f Files) Addresses() ([]netip.Addr, error) {
	var c netConfig
	if err := json.Unmarshal(f.NetworkConfig, &c); err != nil {
		return nil, fmt.Errorf("read network-config: %w", err)
	}
	var list []netip.Addr
	for _, e := range c.Ethernets {
		for _, text := range e.Addresses {
			p, err := netip.ParsePrefix(text)
			if err != nil {
				return nil, fmt.Errorf("read network-config: %w", err)
			}
			list = append(list, p.Addr())
		}
	}
	return list, nil
}
