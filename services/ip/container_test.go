package ip_test

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/wrapperspb"

	ippb "slipway.dev/proto/ip/v3"
)

func TestContainers(t *testing.T) {
	t.Parallel()
	w := start(t)
	admin := w.admin(t)
	create := func(name, kind string) (int32, error) {
		r, err := w.networks.CreateNetwork(admin, &ippb.CreateNetworkRequest{Name: name, Type: kind})
		return r.GetId(), err
	}
	ids := map[string]int32{}
	for _, n := range []struct{ name, kind string }{
		{"10.1.0.0/24", "active"},
		{"10.0.0.0/8", "container"},
		{"10.1.0.0/16", "container"},
		{"10.2.0.0/16", "container"},
		{"10.1.1.0/24", ""},
		{"192.0.2.0/24", "active"},
	} {
		id, err := create(n.name, n.kind)
		if err != nil {
			t.Fatal(n.name, err)
		}
		ids[n.name] = id
	}
	for _, n := range []struct{ name, kind, reason string }{
		{"192.0.2.0/25", "container", "CONFLICT"}, // inside an active one
		{"10.1.0.0/24", "container", "CONFLICT"},
		{"10.1.0.0/16", "container", "CONFLICT"},
		{"10.1.0.0/20", "active", "CONFLICT"}, // around active ones
		{"10.0.0.0/7", "active", "CONFLICT"},
		{"10.3.0.0/16", "other", "INVALID_ARGUMENT"},
	} {
		_, err := create(n.name, n.kind)
		wantFault(t, n.name+" "+n.kind, err, n.reason, "")
	}
	_, err := w.networks.CreateNetwork(admin, &ippb.CreateNetworkRequest{Name: "10.9.0.0/16", Type: "container", Gateway: "10.9.0.1"})
	wantFault(t, "a container's gateway", err, "INVALID_ARGUMENT", "gateway")
	for name, parent := range map[string]string{
		"10.0.0.0/8": "", "10.1.0.0/16": "10.0.0.0/8", "10.1.0.0/24": "10.1.0.0/16", "10.2.0.0/16": "10.0.0.0/8", "192.0.2.0/24": "",
	} {
		n, err := w.networks.GetNetwork(admin, &ippb.GetNetworkRequest{Id: ids[name]})
		if err != nil || n.GetParent().GetValue() != ids[parent] {
			t.Errorf("%s is in %v, want %s %v", name, n.GetParent(), parent, err)
		}
	}
	pool := w.newPool(t, "p", "10.1.0.8/29")
	_, err = w.pools.AddRange(admin, &ippb.AddRangeRequest{Id: pool, Name: "10.2.0.8/29"})
	wantFault(t, "a range of a container", err, "INVALID_ARGUMENT", "name")
	w.reserve4(t, 2)
	if n, _ := w.networks.GetNetwork(admin, &ippb.GetNetworkRequest{Id: ids["10.0.0.0/8"]}); n.GetUsingIp() != "2" || n.GetGateway() != "" {
		t.Errorf("%v", n)
	}

	become := func(name, kind string) error {
		_, err := w.networks.UpdateNetwork(admin, &ippb.UpdateNetworkRequest{Id: ids[name], Type: &kind})
		return err
	}
	wantFault(t, "with networks inside", become("10.1.0.0/16", "active"), "IN_USE", "type")
	wantFault(t, "back", become("192.0.2.0/24", "container"), "INVALID_ARGUMENT", "type")
	for range 2 {
		if err := become("10.2.0.0/16", "active"); err != nil {
			t.Error(err)
		}
	}
	w.addRange(t, pool, "10.2.0.8/29")

	vlan := int32(42)
	_, err = w.networks.UpdateNetwork(admin, &ippb.UpdateNetworkRequest{Id: ids["10.2.0.0/16"], Vlan: &vlan, DnsServers: []string{"192.0.2.53"}})
	if err != nil {
		t.Fatal(err)
	}
	n, err := w.networks.GetNetwork(admin, &ippb.GetNetworkRequest{Id: ids["10.2.0.0/16"]})
	want := &ippb.Network{
		Id: ids["10.2.0.0/16"], Name: "10.2.0.0/16", Gateway: "10.2.0.1", Family: 4, Size: "65536", UsingIp: "0", Type: "active",
		Parent: wrapperspb.Int32(ids["10.0.0.0/8"]), Vlan: wrapperspb.Int32(42), DnsServers: []string{"192.0.2.53"},
	}
	if d := cmp.Diff(want, n, protocmp.Transform()); err != nil || d != "" {
		t.Error(err, d)
	}
	r, err := w.addresses.Reserve(t.Context(), &ippb.ReserveRequest{Owner: newOwner(), ClusterId: 1, Ipv4Count: 1, NetworkId: ids["10.2.0.0/16"]})
	if err != nil || texts(r)[0] != "10.2.0.8" || r.GetAddresses()[0].GetDnsServers()[0] != "192.0.2.53" || r.GetAddresses()[0].GetVlan().GetValue() != 42 {
		t.Error(r, err)
	}
	for _, bad := range []*ippb.UpdateNetworkRequest{{Vlan: new(int32)}, {DnsServers: []string{"x"}}} {
		if bad.Id = n.GetId(); bad.Vlan != nil {
			*bad.Vlan = 4095
		}
		_, err := w.networks.UpdateNetwork(admin, bad)
		wantFault(t, "bad", err, "INVALID_ARGUMENT", "")
	}
}

// TestNetworksInParallel: of networks that exclude each other one is made, whoever comes first.
func TestNetworksInParallel(t *testing.T) {
	t.Parallel()
	w := start(t)
	for i, names := range [][2]string{{"10.0.0.0/16", "10.0.1.0/24"}, {"10.1.0.0/24", "10.1.0.0/24"}, {"10.2.0.0/16", "10.2.3.0/24"}} {
		kinds := [][2]string{{"active", "active"}, {"active", "container"}, {"active", "container"}}[i]
		var made atomic.Int32
		var wg sync.WaitGroup
		for k := range names {
			for range 4 {
				wg.Go(func() {
					_, err := w.networks.CreateNetwork(w.admin(t), &ippb.CreateNetworkRequest{Name: names[k], Type: kinds[k]})
					if err == nil {
						made.Add(1)
					} else {
						wantFault(t, names[k], err, "CONFLICT", "name")
					}
				})
			}
		}
		wg.Wait()
		if made.Load() != 1 {
			t.Errorf("%v: %d were made", names, made.Load())
		}
	}
}
