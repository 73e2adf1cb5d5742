package ip_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	ippb "slipway.dev/proto/ip/v3"
)

func TestReserve(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.network(t, "192.0.2.0/24")
	w.network(t, "198.51.100.0/24")
	w.network(t, "2001:db8::/64")
	first := w.newPool(t, "first", "192.0.2.4-192.0.2.5")
	second := w.newPool(t, "second", "198.51.100.8/31", "192.0.2.200", "2001:db8::/64")

	owner := newOwner()
	r, err := w.addresses.Reserve(t.Context(), &ippb.ReserveRequest{Owner: strings.ToUpper(owner), ClusterId: 1, Ipv4Count: 3, Ipv6Count: 1})
	if err != nil {
		t.Fatal(err)
	}
	want := &ippb.Address{
		IpAddr: "192.0.2.4", Name: "192.0.2.4", State: "reserved", Status: "reserved", Generation: 1, Family: 4, Ippool: first, Ipnet: 1, Network: 1,
		IpnetName: "192.0.2.0/24", Gateway: "192.0.2.1", Mask: "255.255.255.0", PrefixLength: 24, Owner: owner, Interface: 2,
	}
	if d := cmp.Diff(want, r.GetAddresses()[0], protocmp.Transform(), protocmp.IgnoreFields(want, "id")); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"192.0.2.4", "192.0.2.5", "192.0.2.200", "2001:db8::2"}, texts(r)); d != "" {
		t.Error(d)
	}
	six := r.GetAddresses()[3]
	if six.GetMask() != "64" || six.GetPrefixLength() != 64 || six.GetGateway() != "2001:db8::1" || six.GetFamily() != 6 {
		t.Errorf("%v", six)
	}
	again, err := w.addresses.Reserve(t.Context(), &ippb.ReserveRequest{Owner: owner, ClusterId: 77, Ipv4Count: 9})
	if d := cmp.Diff(r, again, protocmp.Transform()); err != nil || d != "" {
		t.Error("the same owner again:", err, d)
	}
	// The pools' order is the caller's.
	r, err = w.addresses.Reserve(t.Context(), &ippb.ReserveRequest{Owner: newOwner(), ClusterId: 1, Ipv4Count: 1, PoolIds: []int32{second, first, second}})
	if d := cmp.Diff([]string{"198.51.100.8"}, texts(r)); err != nil || d != "" {
		t.Error(err, d)
	}
	if r, err := w.addresses.Reserve(t.Context(), &ippb.ReserveRequest{Owner: newOwner(), ClusterId: 1}); err != nil || len(r.GetAddresses()) != 0 {
		t.Errorf("nothing wanted: %v %v", r, err)
	}

	l, err := w.list.ListAddresses(w.admin(t), &ippb.ListAddressesRequest{Query: where("owner", owner)})
	if err != nil || l.GetSize() != 4 || l.GetLastNotify() == 0 {
		t.Errorf("%v %v", l, err)
	}
	for field, value := range map[string]string{"name": "192.0.2.4", "ip_addr": "192.0.2.200", "ipnet_name": "2001:db8::/64", "ippool": "1", "family": "6"} {
		l, err := w.list.ListAddresses(w.admin(t), &ippb.ListAddressesRequest{Query: where(field, value)})
		if err != nil || l.GetSize() == 0 || l.GetSize() == 5 {
			t.Errorf("%s EQ %s: %v %v", field, value, l, err)
		}
	}
}

func TestReserveFaults(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.network(t, "192.0.2.0/24")
	pool := w.newPool(t, "small", "192.0.2.4-192.0.2.5")
	w.reserve4(t, 1)
	unbound, err := w.pools.CreatePool(w.admin(t), &ippb.CreatePoolRequest{Name: "unbound"})
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		r                   *ippb.ReserveRequest
		reason, field, says string
	}{
		"no pool":       {&ippb.ReserveRequest{ClusterId: 1, Ipv4Count: 1, PoolIds: []int32{pool, 99}}, "INVALID_ARGUMENT", "pool_ids", "no pool 99"},
		"not bound":     {&ippb.ReserveRequest{ClusterId: 1, Ipv4Count: 1, PoolIds: []int32{unbound.GetId()}}, "INVALID_ARGUMENT", "pool_ids", "pool 2 (unbound)"},
		"other cluster": {&ippb.ReserveRequest{ClusterId: 2, Ipv4Count: 1}, "NO_FREE_ADDRESS", "", "cluster 2 has no address pools"},
		"too many":      {&ippb.ReserveRequest{ClusterId: 1, Ipv4Count: 2}, "NO_FREE_ADDRESS", "", "no free IPv4 address for cluster 1 in the pools 1 (small)"},
		"no IPv6":       {&ippb.ReserveRequest{ClusterId: 1, Ipv4Count: 1, Ipv6Count: 1}, "NO_FREE_ADDRESS", "", "IPv6"},
		"owner":         {&ippb.ReserveRequest{Owner: "host 1", ClusterId: 1, Ipv4Count: 1}, "INVALID_ARGUMENT", "owner", ""},
		"negative":      {&ippb.ReserveRequest{ClusterId: 1, Ipv4Count: -1}, "INVALID_ARGUMENT", "ipv4_count", ""},
		"very many":     {&ippb.ReserveRequest{ClusterId: 1, Ipv6Count: 257}, "INVALID_ARGUMENT", "ipv6_count", ""},
		"lapse":         {&ippb.ReserveRequest{ClusterId: 1, Ipv4Count: 1, LapseSeconds: -1}, "INVALID_ARGUMENT", "lapse_seconds", ""},
		"wish":          {&ippb.ReserveRequest{ClusterId: 1, Wish: "any"}, "INVALID_ARGUMENT", "wish", ""},
	} {
		if tt.r.Owner == "" {
			tt.r.Owner = newOwner()
		}
		_, err := w.addresses.Reserve(t.Context(), tt.r)
		wantFault(t, name, err, tt.reason, tt.field)
		if err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s says %v", name, err)
		}
	}
	if a, _ := w.fill(t, pool); a != "1/2" {
		t.Errorf("refused reservations left something behind: %s", a)
	}
	_, err = w.list.Reserve(w.admin(t), &ippb.ReserveRequest{Owner: newOwner(), ClusterId: 1, Ipv4Count: 1})
	wantFault(t, "an administrator through the gateway", err, "PERMISSION_DENIED", "")
}

// TestWishOfANetwork: a request that names an address and a network gets the address if it is of that network, and nothing
// otherwise, whatever the families.
func TestWishOfANetwork(t *testing.T) {
	t.Parallel()
	w := start(t)
	networks := map[string]int32{}
	for _, name := range []string{"192.0.2.0/24", "198.51.100.0/24", "2001:db8::/64", "2001:db8:1::/64"} {
		networks[name] = w.network(t, name)
	}
	w.newPool(t, "p", "192.0.2.8-192.0.2.15", "198.51.100.8-198.51.100.15", "2001:db8::/120", "2001:db8:1::/120")
	for ip, of := range map[string]string{
		"192.0.2.9": "192.0.2.0/24", "198.51.100.9": "198.51.100.0/24", "2001:db8::9": "2001:db8::/64", "2001:db8:1::9": "2001:db8:1::/64",
	} {
		for name, network := range networks {
			for _, more := range []int32{0, 1, 2} {
				r := &ippb.ReserveRequest{Owner: newOwner(), ClusterId: 1, Wish: ip, NetworkId: network, Ipv4Count: more}
				got, err := w.addresses.Reserve(t.Context(), r)
				if name != of {
					wantFault(t, fmt.Sprint(ip, " of ", name, " and ", more), err, "INVALID_ARGUMENT", "wish")
					continue
				}
				if list := texts(got); err != nil || !slices.Contains(list, ip) {
					t.Errorf("%s of %s: %v %v", ip, name, list, err)
				}
				w.exec(t, `DELETE FROM address WHERE owner IS NOT NULL AND family(ip) = 6`)
				w.exec(t, `UPDATE address SET state = 'free', owner = NULL, claim = NULL, position = NULL, until = NULL, account_id = NULL
					WHERE owner IS NOT NULL`)
			}
		}
	}
}

func TestWish(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.network(t, "192.0.2.0/24")
	w.network(t, "2001:db8::/64")
	w.newPool(t, "p", "192.0.2.0/28", "2001:db8::/120")
	foreign := w.newPool(t, "foreign", "192.0.2.64/28", "2001:db8::1:0/120")
	if _, err := w.vmPools.SetPoolClusters(t.Context(), &ippb.SetPoolClustersRequest{
		PoolId: foreign, Clusters: []*ippb.PoolCluster{{Id: 2}},
	}); err != nil {
		t.Fatal(err)
	}
	wish := func(owner, ip string, v4, v6 int32) ([]string, error) {
		r, err := w.addresses.Reserve(t.Context(), &ippb.ReserveRequest{Owner: owner, ClusterId: 1, Wish: ip, Ipv4Count: v4, Ipv6Count: v6})
		return texts(r), err
	}
	mine := newOwner()
	for _, tt := range []struct {
		owner, ip string
		v4, v6    int32
		want      []string
	}{
		{mine, "192.0.2.7", 0, 0, []string{"192.0.2.7"}},
		{mine, "192.0.2.7", 0, 0, []string{"192.0.2.7"}},
		{newOwner(), "192.0.2.9", 2, 1, []string{"192.0.2.9", "192.0.2.2", "2001:db8::2"}},
		{newOwner(), "2001:db8::80", 1, 2, []string{"192.0.2.3", "2001:db8::80", "2001:db8::3"}},
	} {
		got, err := wish(tt.owner, tt.ip, tt.v4, tt.v6)
		if d := cmp.Diff(tt.want, got); err != nil || d != "" {
			t.Errorf("%s: %v %s", tt.ip, err, d)
		}
	}
	for ip, reason := range map[string]string{
		"192.0.2.7": "WISH_TAKEN", "2001:db8::80": "WISH_TAKEN", "192.0.2.70": "INVALID_ARGUMENT", "2001:db8::1:5": "INVALID_ARGUMENT",
		"192.0.2.1": "INVALID_ARGUMENT", "192.0.2.0": "INVALID_ARGUMENT", "2001:db8::1": "INVALID_ARGUMENT", "2001:db8::": "INVALID_ARGUMENT",
		"192.0.2.200": "INVALID_ARGUMENT", "198.51.100.1": "INVALID_ARGUMENT", "2001:db8::ffff": "INVALID_ARGUMENT",
	} {
		_, err := wish(newOwner(), ip, 1, 0)
		wantFault(t, ip, err, reason, "wish")
	}
	w.giveBackUsed(t, mine)
	_, err := wish(newOwner(), "192.0.2.7", 0, 0)
	wantFault(t, "in quarantine", err, "QUARANTINED", "wish")
	w.exec(t, `UPDATE address SET until = now() WHERE state = 'quarantined'`)
	if _, err := wish(newOwner(), "192.0.2.7", 0, 0); err != nil {
		t.Errorf("after the quarantine: %v", err)
	}
}

func TestLapse(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.network(t, "192.0.2.0/24")
	w.network(t, "2001:db8::/64")
	w.newPool(t, "p", "192.0.2.4", "2001:db8::4")
	ask := func(owner string) ([]string, error) {
		r, err := w.addresses.Reserve(t.Context(), &ippb.ReserveRequest{Owner: owner, ClusterId: 1, Ipv4Count: 1, Ipv6Count: 1, LapseSeconds: 60})
		return texts(r), err
	}
	both := []string{"192.0.2.4", "2001:db8::4"}
	a, b := newOwner(), newOwner()
	if got, err := ask(a); err != nil || !slices.Equal(got, both) {
		t.Fatal(got, err)
	}
	_, err := ask(b)
	wantFault(t, "taken", err, "NO_FREE_ADDRESS", "")
	lapse := func() { w.exec(t, `UPDATE address SET until = now() WHERE until IS NOT NULL`) }

	lapse()
	_, err = w.addresses.Confirm(t.Context(), &ippb.ConfirmRequest{Owner: a})
	wantFault(t, "confirm in the moment of lapsing", err, "RESERVATION_LAPSED", "")
	if got, err := ask(a); err != nil || !slices.Equal(got, both) {
		t.Errorf("the owner asks again, before anybody else: %v %v", got, err)
	}
	_, err = ask(b)
	wantFault(t, "renewed", err, "NO_FREE_ADDRESS", "")

	lapse()
	if got, err := ask(b); err != nil || !slices.Equal(got, both) {
		t.Errorf("lapsed reservations are free: %v %v", got, err)
	}
	_, err = w.addresses.Confirm(t.Context(), &ippb.ConfirmRequest{Owner: a})
	wantFault(t, "confirm what another has", err, "RESERVATION_LAPSED", "")
	if r, err := w.addresses.Release(t.Context(), &ippb.ReleaseRequest{Owner: a}); err != nil || r.GetReleased() != 0 {
		t.Errorf("release what another has: %v %v", r, err)
	}
	for range 2 {
		if _, err := w.addresses.Confirm(t.Context(), &ippb.ConfirmRequest{Owner: b}); err != nil {
			t.Errorf("confirm: %v", err)
		}
	}
	got, err := w.addresses.Reserve(t.Context(), &ippb.ReserveRequest{Owner: b, ClusterId: 1, Ipv4Count: 1})
	if err != nil || len(got.GetAddresses()) != 2 || got.GetAddresses()[0].GetState() != "assigned" {
		t.Errorf("reserve what is assigned: %v %v", got, err)
	}
}

func TestQuarantine(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.network(t, "192.0.2.0/24")
	w.network(t, "2001:db8::/64")
	pool := w.newPool(t, "p", "192.0.2.4", "2001:db8::4")
	ask := func(owner string) error {
		_, err := w.addresses.Reserve(t.Context(), &ippb.ReserveRequest{Owner: owner, ClusterId: 1, Ipv4Count: 1, Ipv6Count: 1})
		return err
	}
	a := newOwner()
	if err := ask(a); err != nil {
		t.Fatal(err)
	}
	if _, err := w.addresses.Confirm(t.Context(), &ippb.ConfirmRequest{Owner: a}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []int32{2, 0} {
		if r, err := w.addresses.Release(t.Context(), &ippb.ReleaseRequest{Owner: a}); err != nil || r.GetReleased() != want {
			t.Errorf("%v %v, want %d", r, err, want)
		}
	}
	l, err := w.list.ListAddresses(w.admin(t), &ippb.ListAddressesRequest{Query: where("status", "quarantined")})
	if err != nil || l.GetSize() != 2 || l.GetList()[0].GetOwner() != "" {
		t.Errorf("%v %v", l, err)
	}
	wantFault(t, "the only ones are in quarantine", ask(newOwner()), "NO_FREE_ADDRESS", "")
	wantFault(t, "also for their old owner", ask(a), "NO_FREE_ADDRESS", "")
	var seconds int
	if err := w.pool.QueryRow(t.Context(), `SELECT max(extract(epoch FROM until - now()))::int FROM address`).Scan(&seconds); err != nil || seconds < 290 || seconds > 300 {
		t.Errorf("quarantine of %d s, %v", seconds, err)
	}
	w.exec(t, `UPDATE address SET until = now() WHERE until IS NOT NULL`)
	if err := ask(newOwner()); err != nil {
		t.Error(err)
	}
	if a, b := w.fill(t, pool); a != "1/1" || b != "1/1" {
		t.Errorf("fill %s %s", a, b)
	}
}

// TestIPv6 fills a small range, goes round, and looks at how few rows a large one has.
func TestIPv6(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.network(t, "2001:db8::/64")
	w.network(t, "2001:db8:1::/120")
	w.newPool(t, "large", "2001:db8::/64")
	small := w.newPool(t, "small", "2001:db8:1::/120")
	ask := func(owner string, n int32, pools ...int32) ([]string, error) {
		r, err := w.addresses.Reserve(t.Context(), &ippb.ReserveRequest{Owner: owner, ClusterId: 1, Ipv6Count: n, PoolIds: pools})
		return texts(r), err
	}
	if got, err := ask(newOwner(), 3); err != nil || !slices.Equal(got, []string{"2001:db8::2", "2001:db8::3", "2001:db8::4"}) {
		t.Error(got, err)
	}
	var owners []string
	for i := range 127 { // 256 less the network's own, and the gateway
		owner := newOwner()
		owners = append(owners, owner)
		got, err := ask(owner, 2, small)
		if want := []string{fmt.Sprintf("2001:db8:1::%x", 2*i+2), fmt.Sprintf("2001:db8:1::%x", 2*i+3)}; err != nil || !slices.Equal(got, want) {
			t.Fatal(got, err, want)
		}
	}
	_, err := ask(newOwner(), 1, small)
	wantFault(t, "full", err, "NO_FREE_ADDRESS", "")
	w.giveBackUsed(t, owners[50])
	_, err = ask(newOwner(), 1, small)
	wantFault(t, "the rest is in quarantine", err, "NO_FREE_ADDRESS", "")
	w.exec(t, `UPDATE address SET until = now() WHERE state = 'quarantined'`)
	if got, err := ask(newOwner(), 1, small); err != nil || !slices.Equal(got, []string{"2001:db8:1::66"}) {
		t.Errorf("a gap before the cursor: %v %v", got, err)
	}
	if got, err := ask(newOwner(), 2, small, 1); err != nil || !slices.Equal(got, []string{"2001:db8:1::67", "2001:db8::5"}) {
		t.Errorf("over two pools: %v %v", got, err)
	}
	var rows int
	if err := w.pool.QueryRow(t.Context(), `SELECT count(*) FROM address WHERE pool_id = 1`).Scan(&rows); err != nil || rows != 5 {
		t.Errorf("%d rows for 4 addresses and a gateway, %v", rows, err)
	}
}
