package ip_test

import (
	"slices"
	"testing"

	ippb "slipway.dev/proto/ip/v3"
)

// TestFamilies: a pool or a network that is named for addresses of one family does not keep those of the other away, and an
// address of any family is of the one that the pool, the network or the cluster has.
func TestFamilies(t *testing.T) {
	t.Parallel()
	w := start(t)
	v4, v6 := w.network(t, "192.0.2.0/24"), w.network(t, "2001:db8::/64")
	four, six := w.newPool(t, "four", "192.0.2.10-192.0.2.99"), w.newPool(t, "six", "2001:db8::100-2001:db8::1ff")
	alone, err := w.pools.CreatePool(w.admin(t), &ippb.CreatePoolRequest{Name: "alone"})
	if err != nil {
		t.Fatal(err)
	}
	w.network(t, "2001:db8:7::/64")
	w.addRange(t, alone.GetId(), "2001:db8:7::100-2001:db8:7::1ff")
	_, err = w.vmPools.SetPoolClusters(t.Context(), &ippb.SetPoolClustersRequest{PoolId: alone.GetId(), Clusters: []*ippb.PoolCluster{{Id: 2}}})
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		r    *ippb.ReserveRequest
		want []int32 // families
	}{
		"a pool of IPv4 for both":         {&ippb.ReserveRequest{PoolIds: []int32{four}, Ipv4Count: 2, Ipv6Count: 1}, []int32{4, 4, 6}},
		"a network of IPv4 for both":      {&ippb.ReserveRequest{NetworkId: v4, Ipv4Count: 1, Ipv6Count: 1}, []int32{4, 6}},
		"a network of IPv6 for both":      {&ippb.ReserveRequest{NetworkId: v6, Ipv4Count: 1, Ipv6Count: 1}, []int32{4, 6}},
		"a wish of IPv6 and a pool":       {&ippb.ReserveRequest{PoolIds: []int32{four}, Ipv4Count: 1, Wish: "2001:db8::1aa"}, []int32{4, 6}},
		"any of a network of IPv6":        {&ippb.ReserveRequest{NetworkId: v6, AnyCount: 1}, []int32{6}},
		"any of a network of IPv4":        {&ippb.ReserveRequest{NetworkId: v4, AnyCount: 1}, []int32{4}},
		"any of a pool of IPv6":           {&ippb.ReserveRequest{PoolIds: []int32{six}, AnyCount: 2}, []int32{6, 6}},
		"any of both pools":               {&ippb.ReserveRequest{PoolIds: []int32{six, four}, AnyCount: 1}, []int32{4}},
		"any of the cluster":              {&ippb.ReserveRequest{AnyCount: 1}, []int32{4}},
		"any of a cluster with IPv6 only": {&ippb.ReserveRequest{ClusterId: 2, AnyCount: 1}, []int32{6}},
		"IPv6 only":                       {&ippb.ReserveRequest{ClusterId: 2, Ipv6Count: 1}, []int32{6}},
	} {
		tt.r.Owner = newOwner()
		if tt.r.GetClusterId() == 0 {
			tt.r.ClusterId = 1
		}
		for range 2 { // the second is the same claim again
			got, err := w.addresses.Reserve(t.Context(), tt.r)
			var families []int32
			for _, a := range got.GetAddresses() {
				families = append(families, a.GetFamily())
			}
			if err != nil || !slices.Equal(families, tt.want) {
				t.Errorf("%s: %v %v, want %v", name, texts(got), err, tt.want)
			}
		}
	}
	for name, tt := range map[string]struct {
		r             *ippb.ReserveRequest
		reason, field string
	}{
		"IPv6 of a pool of IPv4":      {&ippb.ReserveRequest{PoolIds: []int32{four}, Ipv6Count: 1}, "NO_FREE_ADDRESS", ""},
		"IPv4 of a network of IPv6":   {&ippb.ReserveRequest{PoolIds: []int32{six}, Ipv4Count: 1}, "NO_FREE_ADDRESS", ""},
		"a network that is not there": {&ippb.ReserveRequest{NetworkId: 99, AnyCount: 1}, "INVALID_ARGUMENT", "network_id"},
		"too many":                    {&ippb.ReserveRequest{AnyCount: 257}, "INVALID_ARGUMENT", "any_count"},
	} {
		tt.r.Owner, tt.r.ClusterId = newOwner(), 1
		_, err := w.addresses.Reserve(t.Context(), tt.r)
		wantFault(t, name, err, tt.reason, tt.field)
	}
}
