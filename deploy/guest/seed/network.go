package seed

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// Link is one network interface: found by MAC when there is one, else by Name.
type Link struct {
	MAC       net.HardwareAddr
	Name      string // present name, only without MAC
	SetName   string // empty: keep
	MTU       int    // 0: keep
	AcceptRA  bool
	Addresses []netip.Prefix
	Routes    []Route
}

// Route goes through Via; OnLink says that Via is reachable even when no address covers it.
type Route struct {
	To     netip.Prefix
	Via    netip.Addr
	OnLink bool
	Metric int
}

type networkDoc struct {
	Network   *networkDoc         `yaml:"network"` // netplan's wrapping, which cloud-init takes too
	Version   int                 `yaml:"version"`
	Ethernets map[string]ethernet `yaml:"ethernets"`
}

type ethernet struct {
	Match     match    `yaml:"match"`
	SetName   string   `yaml:"set-name"`
	MTU       int      `yaml:"mtu"`
	DHCP4     flag     `yaml:"dhcp4"`
	DHCP6     flag     `yaml:"dhcp6"`
	AcceptRA  flag     `yaml:"accept-ra"`
	Addresses []string `yaml:"addresses"`
	Gateway4  string   `yaml:"gateway4"`
	Gateway6  string   `yaml:"gateway6"`
	Routes    []struct {
		To     string `yaml:"to"`
		Via    string `yaml:"via"`
		Scope  string `yaml:"scope"`
		OnLink flag   `yaml:"on-link"`
		Metric int    `yaml:"metric"`
	} `yaml:"routes"`
	Nameservers struct {
		Addresses []string `yaml:"addresses"`
		Search    []string `yaml:"search"`
	} `yaml:"nameservers"`
}

type match struct {
	MAC    string `yaml:"macaddress"`
	Name   string `yaml:"name"`
	Driver any    `yaml:"driver"`
	bad    bool
}

// UnmarshalYAML records an error, because without its match an entry would apply to the interface of its name.
func (m *match) UnmarshalYAML(n *yaml.Node) error {
	type plain match
	m.bad = n.Decode((*plain)(m)) != nil
	return nil
}

func parseNetwork(s *Seed, data []byte) []error {
	var doc networkDoc
	errs := decode(data, &doc)
	if doc.Network != nil {
		doc = *doc.Network
	}
	if doc.Version != 2 {
		if len(errs) == 0 {
			errs = append(errs, fmt.Errorf("version %d is not supported, only 2", doc.Version))
		}
		return errs
	}
	for _, id := range slices.Sorted(maps.Keys(doc.Ethernets)) {
		for _, err := range s.addLink(id, doc.Ethernets[id]) {
			errs = append(errs, fmt.Errorf("%.32q: %w", id, err))
		}
	}
	return errs
}

// ifName matches the usual names of links: fewer characters than the kernel accepts, 15 bytes at most.
var ifName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.-]{0,14}$`)

// addLink rejects an entry if its interface is ambiguous; otherwise it skips only the invalid parts.
func (s *Seed) addLink(id string, e ethernet) (errs []error) {
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	l := Link{Name: id, SetName: e.SetName, MTU: e.MTU, AcceptRA: e.AcceptRA == yes}
	if e.Match.bad {
		return []error{errors.New("match: wrong type of value")}
	}
	if e.Match.Driver != nil {
		return []error{errors.New("match.driver is not supported")}
	}
	if e.Match.Name != "" {
		l.Name = e.Match.Name
	}
	if e.Match.MAC != "" {
		mac, err := net.ParseMAC(e.Match.MAC)
		if err != nil || len(mac) != 6 {
			return []error{fmt.Errorf("match.macaddress %.32q is no MAC address", e.Match.MAC)}
		}
		l.MAC, l.Name = mac, ""
	} else if !ifName.MatchString(l.Name) {
		return []error{fmt.Errorf("%.32q is no interface name", l.Name)}
	}
	if l.SetName != "" && !ifName.MatchString(l.SetName) {
		add("set-name %.32q is no interface name", l.SetName)
		l.SetName = ""
	}
	if l.MTU != 0 && (l.MTU < 576 || l.MTU > 65535) {
		add("mtu %d is out of range", l.MTU)
		l.MTU = 0
	}
	if e.DHCP4 == yes || e.DHCP6 == yes {
		add("dhcp is not supported")
	}
	for _, text := range e.Addresses {
		p, err := netip.ParsePrefix(text)
		if err != nil || p.Addr().IsUnspecified() || p.Addr().IsMulticast() || p.Addr().Is4In6() {
			add("address %.64q is not like 192.0.2.2/24", text)
			continue
		}
		l.Addresses = append(l.Addresses, p)
	}
	for _, gw := range []struct{ key, to, via string }{
		{"gateway4", "0.0.0.0/0", e.Gateway4},
		{"gateway6", "::/0", e.Gateway6},
	} {
		if gw.via == "" {
			continue
		}
		r, err := newRoute(gw.to, gw.via)
		if err != nil {
			add("%s: %w", gw.key, err)
			continue
		}
		l.addRoute(r, false)
	}
	for _, route := range e.Routes {
		if route.Scope == "link" && slices.Contains([]string{"", "0.0.0.0", "::"}, route.Via) {
			if _, err := netip.ParsePrefix(route.To); err != nil {
				add("route to %.64q on the link is not valid", route.To)
			}
			continue // addRoute marks gateways that no address covers
		}
		r, err := newRoute(route.To, route.Via)
		if err != nil || route.Metric < 0 {
			add("route to %.64q via %.64q is not valid", route.To, route.Via)
			continue
		}
		r.Metric = route.Metric
		l.addRoute(r, route.OnLink == yes)
	}
	for _, text := range e.Nameservers.Addresses {
		a, err := netip.ParseAddr(text)
		if err != nil || a.Zone() != "" {
			add("name server %.64q is no address", text)
			continue
		}
		s.DNS = append(s.DNS, a)
	}
	for _, name := range e.Nameservers.Search {
		if err := checkHostname(strings.TrimSuffix(name, ".")); err != nil {
			add("search: %w", err)
			continue
		}
		s.Search = append(s.Search, name)
	}
	s.Links = append(s.Links, l)
	return errs
}

// addRoute marks the route on-link when no address of the link covers the gateway: the other reading, an
// unreachable gateway, is of no use. Hosts with one /32 per guest rely on the on-link route.
func (l *Link) addRoute(r Route, onLink bool) {
	covered := r.Via.IsLinkLocalUnicast() && r.Via.Is6()
	for _, p := range l.Addresses {
		covered = covered || p.Masked().Contains(r.Via)
	}
	r.OnLink = onLink || !covered
	l.Routes = append(l.Routes, r)
}

func newRoute(to, via string) (Route, error) {
	gw, err := netip.ParseAddr(via)
	if err != nil || gw.Zone() != "" || gw.IsUnspecified() || gw.IsMulticast() || gw.Is4In6() {
		return Route{}, fmt.Errorf("%.64q is no gateway", via)
	}
	if to == "default" {
		to = "::/0"
		if gw.Is4() {
			to = "0.0.0.0/0"
		}
	}
	p, err := netip.ParsePrefix(to)
	if err != nil || p.Addr().Is4() != gw.Is4() {
		return Route{}, fmt.Errorf("%.64q is no destination for gateway %s", to, gw)
	}
	return Route{To: p.Masked(), Via: gw}, nil
}
