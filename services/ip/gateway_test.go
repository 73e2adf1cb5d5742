package ip_test

import (
	"slices"
	"testing"

	ippb "slipway.dev/proto/ip/v3"

	"slipway.dev/pkg/fault"
)

// TestSingleAddress: a network of one address is taken with and without a gateway, which can be set and removed.
func TestSingleAddress(t *testing.T) {
	t.Parallel()
	w := start(t)
	admin := w.admin(t)
	for name, outside := range map[string]string{"198.18.5.7/32": "203.0.113.1", "2001:db8:6::7/128": "fe80::1"} {
		id := w.network(t, name)
		pool := w.newPool(t, name, name)
		r := &ippb.ReserveRequest{Owner: newOwner(), ClusterId: 1, PoolIds: []int32{pool}, Ipv4Count: 1}
		if outside == "fe80::1" {
			r.Ipv4Count, r.Ipv6Count = 0, 1
		}
		got, err := w.addresses.Reserve(t.Context(), r)
		if err != nil || got.GetAddresses()[0].GetGateway() != "" {
			t.Fatalf("%s: %v %v", name, got, err)
		}
		for _, gateway := range []string{outside, "", outside} {
			if _, err := w.networks.UpdateNetwork(admin, &ippb.UpdateNetworkRequest{Id: id, Gateway: &gateway}); err != nil {
				t.Fatalf("%s by %q: %v", name, gateway, err)
			}
			n, err := w.networks.GetNetwork(admin, &ippb.GetNetworkRequest{Id: id})
			if err != nil || n.GetGateway() != gateway {
				t.Errorf("%s: %v %v, want the gateway %q", name, n, err, gateway)
			}
		}
		l, err := w.list.ListAddresses(admin, &ippb.ListAddressesRequest{Query: where("gateway", outside)})
		if err != nil || l.GetSize() != 1 || l.GetList()[0].GetGateway() != outside {
			t.Errorf("%s by its gateway: %v %v", name, l, err)
		}
	}
	big, none := w.network(t, "192.0.2.0/24"), ""
	_, err := w.networks.UpdateNetwork(admin, &ippb.UpdateNetworkRequest{Id: big, Gateway: &none})
	wantFault(t, "no gateway in a network of several", err, "INVALID_ARGUMENT", "gateway")
}

// gateways lists the addresses of a pool that are gateways.
func (w *world) gateways(t *testing.T) (list []string) {
	t.Helper()
	l, err := w.list.ListAddresses(w.admin(t), &ippb.ListAddressesRequest{Query: where("state", "gateway")})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range l.GetList() {
		list = append(list, a.GetIpAddr())
	}
	slices.Sort(list)
	return list
}

// TestOutsideGatewayIsNotGiven: a gateway outside its own network is no address that a host gets, whichever of network and range
// was there first, until the last network that has it is gone.
func TestOutsideGatewayIsNotGiven(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ around, run, router, other, inner, second string }{
		"IPv4": {"203.0.113.0/24", "203.0.113.1-203.0.113.6", "203.0.113.3", "203.0.113.4", "198.51.100.8/30", "198.18.5.7/32"},
		"IPv6": {"2001:db8::/64", "2001:db8::1-2001:db8::6", "2001:db8::3", "2001:db8::4", "2001:db8:5::/64", "2001:db8:6::7/128"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := start(t)
			admin := w.admin(t)
			want := func(what string, list ...string) {
				t.Helper()
				if got := w.gateways(t); !slices.Equal(got, list) {
					t.Errorf("%s: gateways %q, want %q", what, got, list)
				}
			}
			create := func(name, gateway string) int32 {
				t.Helper()
				r, err := w.networks.CreateNetwork(admin, &ippb.CreateNetworkRequest{Name: name, Gateway: gateway})
				if err != nil {
					t.Fatal(err)
				}
				return r.GetId()
			}
			around := create(tt.around, "")
			own := map[string]string{"IPv4": "203.0.113.1", "IPv6": "2001:db8::1"}[name]
			inner := create(tt.inner, tt.router)
			pool := w.newPool(t, "p", tt.run)
			want("the network was first", own, tt.router)
			second := create(tt.second, tt.router)
			move := func(id int32, gateway string) error {
				_, err := w.networks.UpdateNetwork(admin, &ippb.UpdateNetworkRequest{Id: id, Gateway: &gateway})
				return err
			}
			if err := move(inner, tt.other); err != nil {
				t.Fatal(err)
			}
			want("one of two has moved", own, tt.router, tt.other)
			if _, err := w.networks.DeleteNetwork(admin, &ippb.DeleteNetworkRequest{Id: second}); err != nil {
				t.Fatal(err)
			}
			want("the other is gone", own, tt.other)
			if err := move(inner, own); err != nil {
				t.Fatalf("a gateway that the network around it has too: %v", err)
			}
			want("shared with the network around", own)
			if err := move(around, tt.router); err != nil {
				t.Fatal(err)
			}
			want("the network around has moved", own, tt.router)

			r := &ippb.ReserveRequest{Owner: newOwner(), ClusterId: 1, PoolIds: []int32{pool}, Ipv4Count: 4}
			if name == "IPv6" {
				r.Ipv4Count, r.Ipv6Count = 0, 4
			}
			got, err := w.addresses.Reserve(t.Context(), r)
			if err != nil || slices.Contains(texts(got), own) || slices.Contains(texts(got), tt.router) {
				t.Errorf("all that may be given: %v %v", texts(got), err)
			}
			_, err = w.networks.CreateNetwork(admin, &ippb.CreateNetworkRequest{Name: tt.second, Gateway: texts(got)[0]})
			wantFault(t, "a gateway that a host has", err, "IN_USE", "gateway")
			want("nothing has changed", own, tt.router)
		})
	}
}

// TestNotForHosts: networks, ranges, gateways and name servers that no standard allows are refused, by the field that names them;
// private, shared, documentation and benchmarking addresses are not.
func TestNotForHosts(t *testing.T) {
	t.Parallel()
	w := start(t)
	admin := w.admin(t)
	for _, name := range []string{
		"0.0.0.0/0", "0.0.0.0/8", "0.1.0.0/16", "127.0.0.0/8", "127.5.0.0/16", "169.254.0.0/16", "169.254.169.254/32", "192.0.0.0/24",
		"192.0.0.0/16", "192.88.99.0/24", "224.0.0.0/4", "239.1.2.0/24", "240.0.0.0/4", "255.255.255.255/32", "255.255.255.0/24",
		"::/0", "::/128", "::1/128", "::/96", "64:ff9b::/96", "64:ff9b:1::/64", "100::/64", "2001::/48", "2001:10::/32", "2001:20::/64",
		"4000::/64", "5f00::/64", "e000::/64", "fe00::/64", "fe80::/64", "fec0::/64", "ff02::/64", "ff00::/8",
	} {
		_, err := w.networks.CreateNetwork(admin, &ippb.CreateNetworkRequest{Name: name})
		wantFault(t, name, err, "INVALID_ARGUMENT", "name")
	}
	for _, name := range []string{"127.0.0.0/16", "224.0.0.0/4", "fe80::/10", "ff00::/8"} {
		_, err := w.networks.CreateNetwork(admin, &ippb.CreateNetworkRequest{Name: name, Type: "container"})
		wantFault(t, name, err, "INVALID_ARGUMENT", "name")
	}
	for _, name := range []string{
		"10.0.0.0/24", "100.64.7.0/24", "172.16.0.0/24", "192.0.2.0/24", "192.168.0.0/24", "198.18.0.0/24", "198.51.100.0/24",
		"203.0.113.0/24", "8.8.8.0/24", "2001:2::/64", "2001:db8::/64", "2a00:1450::/64", "3fff::/64", "fd00::/64", "2002:c000:204::/64",
	} {
		w.network(t, name)
	}
	all, err := w.networks.CreateNetwork(admin, &ippb.CreateNetworkRequest{Name: "0.0.0.0/0", Type: "container"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.networks.UpdateNetwork(admin, &ippb.UpdateNetworkRequest{Id: all.GetId(), Type: new("active")})
	if f, ok := fault.From(err); !ok || f.Field != "type" {
		t.Errorf("a container of everything becomes active: %v", err)
	}
	for gateway, name := range map[string]string{
		"0.0.0.0": "10.1.0.0/24", "127.0.0.1": "10.1.0.0/24", "240.0.0.1": "10.1.0.0/24", "255.255.255.255": "10.1.0.0/24", "ff02::1": "fd01::/64", "::1": "fd01::/64",
	} {
		_, err := w.networks.CreateNetwork(admin, &ippb.CreateNetworkRequest{Name: name, Gateway: gateway})
		wantFault(t, "the gateway "+gateway, err, "INVALID_ARGUMENT", "gateway")
	}
	for _, server := range []string{"0.0.0.0", "127.0.0.53", "224.0.0.251", "255.255.255.255", "::", "::1", "ff02::fb"} {
		_, err := w.networks.CreateNetwork(admin, &ippb.CreateNetworkRequest{Name: "10.1.0.0/24", DnsServers: []string{"192.0.2.53", server}})
		wantFault(t, "the name server "+server, err, "INVALID_ARGUMENT", "dns_servers")
	}
	for _, server := range []string{"169.254.169.253", "fe80::53"} {
		if _, err := w.networks.UpdateNetwork(admin, &ippb.UpdateNetworkRequest{Id: 1, DnsServers: []string{server}}); err != nil {
			t.Errorf("the name server %s on the link: %v", server, err)
		}
	}

	// A network of before the rule keeps its addresses and gets no more.
	w.exec(t, `INSERT INTO network (cidr, type, gateway) VALUES ('127.9.0.0/24', 'active', '127.9.0.1')`)
	pool := w.newPool(t, "p")
	_, err = w.pools.AddRange(admin, &ippb.AddRangeRequest{Id: pool, Name: "127.9.0.10-127.9.0.20"})
	wantFault(t, "a range of loopback", err, "INVALID_ARGUMENT", "name")
}

// TestEndsOfNetworks: neither a wish nor a hold gets a network's own address, its broadcast address or the anycast address of
// its routers.
func TestEndsOfNetworks(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.network(t, "192.0.2.0/28")
	w.network(t, "2001:db8::/64")
	pool := w.newPool(t, "p", "192.0.2.0/28", "2001:db8::/64")
	for _, ip := range []string{"192.0.2.0", "192.0.2.15", "192.0.2.1", "2001:db8::", "2001:db8::1"} {
		_, err := w.addresses.Reserve(t.Context(), &ippb.ReserveRequest{Owner: newOwner(), ClusterId: 1, Wish: ip})
		if f, ok := fault.From(err); !ok || f.Field != "wish" {
			t.Errorf("the wish %s: %v", ip, err)
		}
		if _, err := w.list.HoldPoolAddress(w.admin(t), &ippb.HoldPoolAddressRequest{Id: pool, IpAddr: ip}); err == nil {
			t.Errorf("%s is held", ip)
		}
	}
}
