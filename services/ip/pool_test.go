package ip_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	ippb "slipway.dev/proto/ip/v3"
)

func TestPools(t *testing.T) {
	t.Parallel()
	w := start(t)
	admin := w.admin(t)
	w.network(t, "192.0.2.0/24")
	w.network(t, "2001:db8::/32")
	pool := w.newPool(t, "main", "192.0.2.0/28", "192.0.2.100", "192.0.2.200-192.0.2.209")
	empty := w.newPool(t, "empty")
	huge := w.newPool(t, "six", "2001:db8:1::/48")
	w.reserve4(t, 3)

	want := []*ippb.Pool{
		{Id: pool, Name: "main", Ipv4: &ippb.Fill{Total: 14 + 1 + 10, Used: 3}},
		{Id: empty, Name: "empty"},
		{Id: huge, Name: "six", Ipv6: &ippb.Fill{Total: 1<<31 - 1}},
	}
	for _, p := range want {
		p.Clusters = []*ippb.PoolCluster{{Id: 1, Interface: 2, Name: "main"}}
	}
	l, err := w.pools.ListPools(admin, &ippb.ListPoolsRequest{})
	if d := cmp.Diff(want, l.GetList(), protocmp.Transform()); err != nil || d != "" || l.GetSize() != 3 {
		t.Error(err, d)
	}
	name, note := "renamed", "a note"
	if _, err := w.pools.UpdatePool(admin, &ippb.UpdatePoolRequest{Id: pool, Name: &name}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.pools.UpdatePool(admin, &ippb.UpdatePoolRequest{Id: pool, Note: &note}); err != nil {
		t.Fatal(err)
	}
	l, err = w.pools.ListPools(admin, &ippb.ListPoolsRequest{Query: where("name", "renamed")})
	if err != nil || l.GetSize() != 1 || l.GetList()[0].GetNote() != note {
		t.Errorf("%v %v", l, err)
	}
	blank := " "
	_, err = w.pools.UpdatePool(admin, &ippb.UpdatePoolRequest{Id: pool, Name: &blank})
	wantFault(t, "blank name", err, "INVALID_ARGUMENT", "name")
	_, err = w.pools.CreatePool(admin, &ippb.CreatePoolRequest{})
	wantFault(t, "no name", err, "INVALID_ARGUMENT", "name")
	_, err = w.pools.UpdatePool(admin, &ippb.UpdatePoolRequest{Id: 99, Name: &name})
	wantFault(t, "missing", err, "NOT_FOUND", "")
	_, err = w.pools.GetPool(admin, &ippb.GetPoolRequest{Id: 99})
	wantFault(t, "missing", err, "NOT_FOUND", "")

	_, err = w.pools.DeletePool(admin, &ippb.DeletePoolRequest{Id: pool})
	wantFault(t, "in use", err, "IN_USE", "")
	for _, id := range []int32{empty, huge} {
		if _, err := w.pools.DeletePool(admin, &ippb.DeletePoolRequest{Id: id}); err != nil {
			t.Error(err)
		}
	}
	for what, clusters := range map[string][]*ippb.PoolCluster{
		"no cluster":   {{Id: 0}},
		"twice":        {{Id: 3}, {Id: 3}},
		"no interface": {{Id: 3, Interface: -1}},
	} {
		_, err := w.vmPools.SetPoolClusters(t.Context(), &ippb.SetPoolClustersRequest{PoolId: pool, Clusters: clusters})
		wantFault(t, what, err, "INVALID_ARGUMENT", "clusters")
	}
	_, err = w.vmPools.SetPoolClusters(t.Context(), &ippb.SetPoolClustersRequest{PoolId: 99})
	wantFault(t, "missing", err, "NOT_FOUND", "")
	_, err = w.pools.SetPoolClusters(admin, &ippb.SetPoolClustersRequest{PoolId: pool})
	wantFault(t, "not vm", err, "PERMISSION_DENIED", "")
	if _, err := w.vmPools.SetPoolClusters(t.Context(), &ippb.SetPoolClustersRequest{PoolId: pool}); err != nil {
		t.Fatal(err)
	}
	p, err := w.pools.GetPool(admin, &ippb.GetPoolRequest{Id: pool})
	if err != nil || len(p.GetClusters()) != 0 {
		t.Errorf("%v %v", p, err)
	}
}

func TestRanges(t *testing.T) {
	t.Parallel()
	w := start(t)
	admin := w.admin(t)
	w.network(t, "192.0.2.0/24")
	w.network(t, "192.0.3.0/24")
	w.network(t, "10.0.0.0/8")
	w.network(t, "2001:db8::/64")
	pool, other := w.newPool(t, "a"), w.newPool(t, "b")
	id := w.addRange(t, pool, " 192.0.2.10 - 192.0.2.20 ")
	six := w.addRange(t, other, "2001:db8::100/120")
	w.addRange(t, other, "10.1.0.0/16")
	for name, tt := range map[string]struct{ text, reason, says string }{
		"overlap":        {"192.0.2.20-192.0.2.30", "CONFLICT", "overlaps"},
		"inside":         {"192.0.2.15", "CONFLICT", "overlaps"},
		"no network":     {"198.51.100.1", "INVALID_ARGUMENT", "create the network first"},
		"two networks":   {"192.0.2.250-192.0.3.5", "INVALID_ARGUMENT", "reaches beyond the network 192.0.2.0/24"},
		"wider":          {"192.0.2.0/23", "INVALID_ARGUMENT", "reaches beyond"},
		"host bits":      {"192.0.2.5/28", "INVALID_ARGUMENT", "192.0.2.0/28"},
		"too many":       {"10.2.0.0/15", "INVALID_ARGUMENT", "at most 65536"},
		"backwards":      {"192.0.2.30-192.0.2.29", "INVALID_ARGUMENT", "after its end"},
		"two families":   {"192.0.2.30-2001:db8::1", "INVALID_ARGUMENT", "families"},
		"gateway alone":  {"192.0.2.1", "INVALID_ARGUMENT", "no usable address"},
		"network itself": {"192.0.3.0-192.0.3.1", "INVALID_ARGUMENT", "no usable address"},
		"nonsense":       {"192.0.2", "INVALID_ARGUMENT", "is not an address"},
		"empty":          {"", "INVALID_ARGUMENT", "is not an address"},
		"zone":           {"fe80::1%eth0", "INVALID_ARGUMENT", "is not an address"},
	} {
		_, err := w.pools.AddRange(admin, &ippb.AddRangeRequest{Id: pool, Name: tt.text})
		wantFault(t, name, err, tt.reason, "name")
		if err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s says %v", name, err)
		}
	}
	_, err := w.pools.AddRange(admin, &ippb.AddRangeRequest{Id: 99, Name: "192.0.2.99"})
	wantFault(t, "no pool", err, "NOT_FOUND", "")

	l, err := w.pools.ListRanges(admin, &ippb.ListRangesRequest{Query: where("ippool", "1")})
	want := []*ippb.Range{{Id: id, Name: "192.0.2.10-192.0.2.20", Ippool: pool, Ipnet: 1}}
	if d := cmp.Diff(want, l.GetList(), protocmp.Transform()); err != nil || d != "" || l.GetSize() != 1 {
		t.Error(err, d)
	}
	if a, b := w.fill(t, other); a != "0/65536" || b != "0/256" {
		t.Errorf("fill %s %s", a, b)
	}

	owner, _ := w.reserve4(t, 1)
	_, err = w.pools.DeleteRange(admin, &ippb.DeleteRangeRequest{Id: id})
	wantFault(t, "in use", err, "IN_USE", "")
	if _, err := w.addresses.Release(t.Context(), &ippb.ReleaseRequest{Owner: owner}); err != nil {
		t.Fatal(err)
	}
	for _, id := range []int32{id, six} {
		if _, err := w.pools.DeleteRange(admin, &ippb.DeleteRangeRequest{Id: id}); err != nil {
			t.Errorf("nothing of the range has an owner: %v", err)
		}
	}
	_, err = w.pools.DeleteRange(admin, &ippb.DeleteRangeRequest{Id: id})
	wantFault(t, "deleted twice", err, "NOT_FOUND", "")
}
