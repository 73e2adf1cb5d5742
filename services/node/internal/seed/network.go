package seed

import (
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
	Routes      []route      `json:"routes,omitempty"`
	Nameservers *nameservers `json:"nameservers,omitempty"`
}

type match struct {
	MAC string `json:"macaddress"`
}

type route struct {
	To     string `json:"to"`
	Via    string `json:"via"`
	OnLink bool   `json:"on-link,omitempty"`
}

type nameservers struct {
	Addresses []string `json:"addresses,omitempty"`
	Search    []string `json:"search,omitempty"`
}

// networkConfig returns the network configuration in version 2 of cloud-init's format, with all name servers at the first link.
func networkConfig(s hyper.Seed) netConfig {
	c := netConfig{Version: 2, Ethernets: map[string]ethernet{}}
	for i, l := range s.Links {
		e := ethernet{Match: match{MAC: l.MAC.String()}, SetName: fmt.Sprintf("eth%d", i), MTU: l.MTU}
		for _, a := range l.Addresses {
			e.Addresses = append(e.Addresses, a.String())
		}
		for _, g := range l.Gateways {
			e.Routes = append(e.Routes, route{To: everywhere(g), Via: g.String(), OnLink: !within(g, l.Addresses)})
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

// everywhere returns the default route of g's family, in a spelling that old cloud-init renderers understand.
func everywhere(g netip.Addr) string {
	if g.Is4() {
		return "0.0.0.0/0"
	}
	return "::/0"
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
