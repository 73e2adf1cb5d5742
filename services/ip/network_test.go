package ip_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	ippb "slipway.dev/proto/ip/v3"
	querypb "slipway.dev/proto/query/v1"

	"slipway.dev/pkg/identity"
)

func TestNetworks(t *testing.T) {
	t.Parallel()
	w := start(t)
	admin := w.admin(t)
	for _, tt := range []struct {
		name, gateway string
		want          *ippb.Network
	}{
		{"192.0.2.0/24", "", &ippb.Network{Id: 1, Name: "192.0.2.0/24", Gateway: "192.0.2.1", Note: "n", Family: 4, Size: "256", UsingIp: "0", Type: "active"}},
		{"198.51.100.0/24", "198.51.100.254", &ippb.Network{Id: 2, Name: "198.51.100.0/24", Gateway: "198.51.100.254", Note: "n", Family: 4, Size: "256", UsingIp: "0", Type: "active"}},
		{"203.0.113.0/31", "", &ippb.Network{Id: 3, Name: "203.0.113.0/31", Gateway: "203.0.113.0", Note: "n", Family: 4, Size: "2", UsingIp: "0", Type: "active"}},
		{"2001:db8::/64", "", &ippb.Network{Id: 4, Name: "2001:db8::/64", Gateway: "2001:db8::1", Note: "n", Family: 6, Size: "18446744073709551616", UsingIp: "0", Type: "active"}},
	} {
		r, err := w.networks.CreateNetwork(admin, &ippb.CreateNetworkRequest{Name: tt.name, Gateway: tt.gateway, Note: "n"})
		if err != nil {
			t.Fatal(err)
		}
		n, err := w.networks.GetNetwork(admin, &ippb.GetNetworkRequest{Id: r.GetId()})
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(tt.want, n, protocmp.Transform()); d != "" {
			t.Error(d)
		}
	}
	for name, tt := range map[string]struct{ name, gateway, reason, field string }{
		"overlap":            {"192.0.2.128/25", "", "CONFLICT", "name"},
		"around":             {"192.0.2.0/23", "", "CONFLICT", "name"},
		"the same":           {"192.0.2.0/24", "", "CONFLICT", "name"},
		"host bits":          {"10.0.0.5/24", "", "INVALID_ARGUMENT", "name"},
		"no prefix":          {"10.0.0.0", "", "INVALID_ARGUMENT", "name"},
		"single, its own":    {"10.0.0.1/32", "10.0.0.1", "INVALID_ARGUMENT", "gateway"},
		"mapped":             {"::ffff:10.0.0.0/120", "", "INVALID_ARGUMENT", "name"},
		"gateway multicast":  {"10.0.0.0/24", "224.0.0.1", "INVALID_ARGUMENT", "gateway"},
		"gateway is network": {"10.0.0.0/24", "10.0.0.0", "INVALID_ARGUMENT", "gateway"},
		"broadcast":          {"10.0.0.0/24", "10.0.0.255", "INVALID_ARGUMENT", "gateway"},
		"other family":       {"10.0.0.0/24", "2001:db8::1", "INVALID_ARGUMENT", "gateway"},
	} {
		_, err := w.networks.CreateNetwork(admin, &ippb.CreateNetworkRequest{Name: tt.name, Gateway: tt.gateway})
		wantFault(t, name, err, tt.reason, tt.field)
	}

	l, err := w.networks.ListNetworks(admin, &ippb.ListNetworksRequest{Query: where("name", "192.0.2.0/24")})
	if err != nil || l.GetSize() != 1 || l.GetList()[0].GetId() != 1 || l.GetLastNotify() == 0 {
		t.Errorf("list by name: %v %v", l, err)
	}
	l, err = w.networks.ListNetworks(w.as(t, identity.RoleReadOnlyAdmin), &ippb.ListNetworksRequest{Query: &querypb.Query{
		Where: where("family", "4").GetWhere(), OrderBy: []*querypb.Order{{Field: "gateway", Descending: true}}, Limit: 2,
	}})
	if err != nil || l.GetSize() != 3 || len(l.GetList()) != 2 || l.GetList()[0].GetId() != 3 {
		t.Errorf("list by family: %v %v", l, err)
	}
	_, err = w.networks.ListNetworks(w.as(t, identity.RoleUser), &ippb.ListNetworksRequest{})
	wantFault(t, "a user lists", err, "PERMISSION_DENIED", "")
	_, err = w.networks.ListNetworks(t.Context(), &ippb.ListNetworksRequest{})
	wantFault(t, "nobody lists", err, "UNAUTHENTICATED", "")

	pool := w.newPool(t, "p", "192.0.2.10")
	_, err = w.networks.DeleteNetwork(admin, &ippb.DeleteNetworkRequest{Id: 1})
	wantFault(t, "delete with ranges", err, "IN_USE", "")
	if _, err := w.pools.DeletePool(admin, &ippb.DeletePoolRequest{Id: pool}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.networks.DeleteNetwork(admin, &ippb.DeleteNetworkRequest{Id: 1}); err != nil {
		t.Error(err)
	}
	_, err = w.networks.GetNetwork(admin, &ippb.GetNetworkRequest{Id: 1})
	wantFault(t, "deleted", err, "NOT_FOUND", "")
	_, err = w.networks.DeleteNetwork(admin, &ippb.DeleteNetworkRequest{Id: 1})
	wantFault(t, "deleted twice", err, "NOT_FOUND", "")
}

// TestNetworksNeverOverlap makes overlapping networks at the same time.
func TestNetworksNeverOverlap(t *testing.T) {
	t.Parallel()
	w := start(t)
	var made atomic.Int32
	var wg sync.WaitGroup
	for i := range 24 {
		wg.Go(func() {
			_, err := w.networks.CreateNetwork(w.admin(t), &ippb.CreateNetworkRequest{Name: fmt.Sprintf("10.0.%d.0/%d", i%4, 24-i%2)})
			if err == nil {
				made.Add(1)
			}
		})
	}
	wg.Wait()
	var overlaps int
	err := w.pool.QueryRow(t.Context(), `SELECT count(*) FROM network a JOIN network b ON a.id < b.id AND a.cidr && b.cidr`).Scan(&overlaps)
	if err != nil || overlaps != 0 || made.Load() == 0 {
		t.Errorf("%d made, %d overlaps, %v", made.Load(), overlaps, err)
	}
}

// TestGateway: no owner gets a gateway, and a change of the gateway changes which addresses may be given.
func TestGateway(t *testing.T) {
	t.Parallel()
	w := start(t)
	admin := w.admin(t)
	v4, v6 := w.network(t, "192.0.2.0/29"), w.network(t, "2001:db8::/64")
	pool := w.newPool(t, "p", "192.0.2.0/29", "2001:db8::-2001:db8::3")
	if a, b := w.fill(t, pool); a != "0/5" || b != "0/2" {
		t.Errorf("fill %s %s", a, b)
	}
	set := func(id int32, gateway string) error {
		note := "changed"
		_, err := w.networks.UpdateNetwork(admin, &ippb.UpdateNetworkRequest{Id: id, Gateway: &gateway, Note: &note})
		return err
	}
	for id, gateway := range map[int32]string{v4: "192.0.2.3", v6: "2001:db8::2"} {
		if err := set(id, gateway); err != nil {
			t.Fatal(err)
		}
	}
	r, err := w.addresses.Reserve(t.Context(), &ippb.ReserveRequest{Owner: newOwner(), ClusterId: 1, Ipv4Count: 5, Ipv6Count: 2})
	want := []string{"192.0.2.1", "192.0.2.2", "192.0.2.4", "192.0.2.5", "192.0.2.6", "2001:db8::1", "2001:db8::3"}
	if d := cmp.Diff(want, texts(r)); err != nil || d != "" {
		t.Error(err, d)
	}
	if a, b := w.fill(t, pool); a != "5/5" || b != "2/2" {
		t.Errorf("fill %s %s", a, b)
	}
	wantFault(t, "a gateway that is in use", set(v4, "192.0.2.2"), "IN_USE", "gateway")
	wantFault(t, "a gateway that is in use", set(v6, "2001:db8::3"), "IN_USE", "gateway")
	wantFault(t, "missing", set(99, "192.0.2.9"), "NOT_FOUND", "")
	if err := set(v6, "2001:db8::ffff"); err != nil {
		t.Errorf("a gateway outside all ranges: %v", err)
	}
	if a, b := w.fill(t, pool); a != "5/5" || b != "2/3" {
		t.Errorf("fill %s %s", a, b)
	}
	n, err := w.networks.GetNetwork(admin, &ippb.GetNetworkRequest{Id: v4})
	if err != nil || n.GetGateway() != "192.0.2.3" || n.GetNote() != "changed" || n.GetUsingIp() != "5" {
		t.Errorf("%v %v", n, err)
	}
}

// TestGatewayElsewhere: a gateway may be on the link or outside the network, and then all addresses may be given.
func TestGatewayElsewhere(t *testing.T) {
	t.Parallel()
	w := start(t)
	for _, tt := range []struct{ name, gateway, first string }{
		{"2001:db8:5::/64", "fe80::1", "2001:db8:5::1"},
		{"198.51.100.8/30", "203.0.113.1", "198.51.100.9"},
		{"198.18.5.7/32", "198.18.5.1", "198.18.5.7"},
		{"198.18.6.6/31", "203.0.113.1", "198.18.6.6"},
		{"2001:db8:6::7/128", "fe80::1", "2001:db8:6::7"},
		{"2001:db8:7::8/127", "2001:db8::1", "2001:db8:7::8"},
	} {
		n, err := w.networks.CreateNetwork(w.admin(t), &ippb.CreateNetworkRequest{Name: tt.name, Gateway: tt.gateway})
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		pool := w.newPool(t, tt.name, tt.name)
		r := &ippb.ReserveRequest{Owner: newOwner(), ClusterId: 1, PoolIds: []int32{pool}, Ipv4Count: 1}
		if strings.Contains(tt.name, ":") {
			r.Ipv4Count, r.Ipv6Count = 0, 1
		}
		got, err := w.addresses.Reserve(t.Context(), r)
		if err != nil || got.GetAddresses()[0].GetIpAddr() != tt.first || got.GetAddresses()[0].GetGateway() != tt.gateway {
			t.Errorf("%s by %s: %v %v", tt.name, tt.gateway, got, err)
		}
		other := "203.0.113.9"
		if r.GetIpv6Count() > 0 {
			other = "fe80::9"
		}
		if _, err := w.networks.UpdateNetwork(w.admin(t), &ippb.UpdateNetworkRequest{Id: n.GetId(), Gateway: &other}); err != nil {
			t.Errorf("%s to %s: %v", tt.name, other, err)
		}
	}
}
