package seed

import (
	"net/netip"
	"reflect"
	"testing"
)

func TestLinks(t *testing.T) {
	t.Parallel()
	addr, prefix := netip.MustParseAddr, netip.MustParsePrefix
	all4, all6 := prefix("0.0.0.0/0"), prefix("::/0")
	for _, tt := range []struct {
		name, link string
		want       Link
		errs       []string
	}{
		{"by key", "{}", Link{Name: "eth0"}, nil},
		{"by name", "{match: {name: ens3}, accept-ra: true}", Link{Name: "ens3", AcceptRA: true}, nil},
		{"no dhcp", "{dhcp4: false, dhcp6: no}", Link{Name: "eth0"}, nil},
		{"dhcp", "{dhcp4: true}", Link{Name: "eth0"}, []string{"dhcp is not supported"}},
		{
			"gateway outside the subnet", "{addresses: [192.0.2.2/32], gateway4: 198.51.100.1}",
			Link{
				Name: "eth0", Addresses: []netip.Prefix{prefix("192.0.2.2/32")},
				Routes: []Route{{To: all4, Via: addr("198.51.100.1"), OnLink: true}},
			},
			nil,
		},
		{
			"a route to the gateway itself", `{addresses: [192.0.2.2/32, "2001:db8::2/128"], gateway4: 198.51.100.1, gateway6: "2001:db8:1::1",
				routes: [{to: 198.51.100.1/32, via: 0.0.0.0, scope: link}, {to: "2001:db8:1::1/128", via: "::", scope: link}, {to: x, scope: link}]}`,
			Link{
				Name: "eth0", Addresses: []netip.Prefix{prefix("192.0.2.2/32"), prefix("2001:db8::2/128")},
				Routes: []Route{{To: all4, Via: addr("198.51.100.1"), OnLink: true}, {To: all6, Via: addr("2001:db8:1::1"), OnLink: true}},
			},
			[]string{"route to \"x\""},
		},
		{
			"default in all spellings", `{addresses: [192.0.2.2/24, "2001:db8::2/64"], routes: [
				{to: default, via: 192.0.2.1}, {to: 0.0.0.0/0, via: 192.0.2.1, on-link: true},
				{to: default, via: "2001:db8::1"}, {to: "::/0", via: "2001:db8:1::1"}]}`,
			Link{
				Name: "eth0", Addresses: []netip.Prefix{prefix("192.0.2.2/24"), prefix("2001:db8::2/64")},
				Routes: []Route{
					{To: all4, Via: addr("192.0.2.1")},
					{To: all4, Via: addr("192.0.2.1"), OnLink: true},
					{To: all6, Via: addr("2001:db8::1")},
					{To: all6, Via: addr("2001:db8:1::1"), OnLink: true},
				},
			},
			nil,
		},
		{
			"bad addresses", `{addresses: [192.0.2.2, a/24, 0.0.0.0/0, 224.0.0.1/4, "::ffff:1.2.3.4/96", "fe80::1%x/64", 192.0.2.3/24]}`,
			Link{Name: "eth0", Addresses: []netip.Prefix{prefix("192.0.2.3/24")}},
			[]string{"192.0.2.2", "a/24", "0.0.0.0", "224", "ffff", "fe80"},
		},
		{
			"bad routes", `{gateway4: "fe80::1", gateway6: 1.2.3.4, routes: [{}, {to: default}, {to: "::/0", via: 1.2.3.4},
				{to: default, via: 0.0.0.0}, {to: 10.0.0.0, via: 1.2.3.4}, {to: default, via: 1.2.3.4, metric: -1}]}`,
			Link{Name: "eth0"},
			[]string{"gateway4", "gateway6", "route", "route", "route", "route", "route", "route"},
		},
		{
			"bad names", `{set-name: "a/../b", mtu: 20, nameservers: {addresses: [dns, "fe80::1%eth0"], search: ["a\nb"]}}`,
			Link{Name: "eth0"},
			[]string{"set-name", "mtu", "name server", "name server", "search"},
		},
		{"wrong types", "{addresses: {a: b}, mtu: lots}", Link{Name: "eth0"}, []string{"line 3: wrong type", "line 3: wrong type"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, errs := parse("", "", "version: 2\nethernets:\n  eth0: "+tt.link)
			check(t, errs, tt.errs...)
			if !reflect.DeepEqual(s.Links, []Link{tt.want}) {
				t.Errorf("got  %+v\nwant %+v", s.Links, tt.want)
			}
		})
	}
}

func TestLinksLeftOut(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ network, err string }{
		{"", "version 0"},
		{"version: 1\nconfig: []", "version 1"},
		{"[]", "wrong type"},
		{"version: 2\nethernets: {'../x': {}}", "no interface name"},
		{"version: 2\nethernets: {averyverylongname: {}}", "no interface name"},
		{"version: 2\nethernets: {a: {match: {macaddress: '52:54'}}}", "no MAC address"},
		{"version: 2\nethernets: {a: {match: {driver: virtio}}}", "match.driver"},
		{"version: 2\nethernets: {a: {match: x}}", "match: wrong type"},
		{"version: 2\nethernets: {a: {match: {macaddress: []}}}", "match: wrong type"},
	} {
		s, errs := parse("", "", tt.network)
		check(t, errs, tt.err)
		if s.Links != nil {
			t.Errorf("%s: %+v", tt.network, s.Links)
		}
	}
	if s, errs := parse("", "", "network: {version: 2, ethernets: {a: {}}}"); len(s.Links) != 1 || errs != nil {
		t.Errorf("netplan's wrapping: %+v, %v", s, errs)
	}
}
