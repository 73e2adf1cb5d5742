package ip_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	ippb "slipway.dev/proto/ip/v3"
)

func TestHold(t *testing.T) {
	t.Parallel()
	w := start(t)
	admin := w.admin(t)
	w.network(t, "192.0.2.0/24")
	w.network(t, "2001:db8::/64")
	pool := w.newPool(t, "p", "192.0.2.0/29", "2001:db8::/64")
	l, err := w.list.ListAddresses(admin, &ippb.ListAddressesRequest{Query: not("state", "")})
	if err != nil {
		t.Fatal(err)
	}
	var states []string
	ids := map[string]int32{}
	for _, a := range l.GetList() {
		if a.GetFamily() == 6 {
			continue
		}
		states, ids[a.GetIpAddr()] = append(states, a.GetStatus()), a.GetId()
	}
	if want := []string{"network", "gateway", "free", "free", "free", "free", "free", "free"}; !slices.Equal(states, want) {
		t.Errorf("states %v", states)
	}
	hold := func(ip, note string) error {
		_, err := w.list.HoldPoolAddress(admin, &ippb.HoldPoolAddressRequest{Id: pool, IpAddr: ip, Note: note})
		return err
	}
	if _, err := w.list.HoldAddress(admin, &ippb.HoldAddressRequest{Id: ids["192.0.2.2"], Note: "router"}); err != nil {
		t.Fatal(err)
	}
	for _, ip := range []string{"192.0.2.3", "2001:db8::2", "2001:db8::2"} {
		if err := hold(ip, "printer"); err != nil {
			t.Errorf("%s: %v", ip, err)
		}
	}
	for ip, reason := range map[string]string{
		"192.0.2.1": "IN_USE", "192.0.2.0": "INVALID_ARGUMENT", "192.0.2.99": "INVALID_ARGUMENT", "2001:db8::": "INVALID_ARGUMENT",
		"2001:db8::1": "IN_USE", "x": "INVALID_ARGUMENT",
	} {
		wantFault(t, ip, hold(ip, ""), reason, "")
	}
	r, err := w.addresses.Reserve(t.Context(), &ippb.ReserveRequest{Owner: newOwner(), ClusterId: 1, Ipv4Count: 1, Ipv6Count: 1})
	if d := cmp.Diff([]string{"192.0.2.4", "2001:db8::3"}, texts(r)); err != nil || d != "" {
		t.Error(err, d)
	}
	wantFault(t, "of a host", hold("192.0.2.4", ""), "IN_USE", "")
	_, err = w.list.FreeAddress(admin, &ippb.FreeAddressRequest{Id: r.GetAddresses()[0].GetId()})
	wantFault(t, "free a host's", err, "IN_USE", "")
	_, err = w.addresses.Reserve(t.Context(), &ippb.ReserveRequest{Owner: newOwner(), ClusterId: 1, Wish: "192.0.2.2"})
	wantFault(t, "wish for it", err, "WISH_TAKEN", "")

	st, err := w.pools.GetPoolStats(admin, &ippb.GetPoolStatsRequest{Id: pool, Family: 4})
	want := &ippb.Stats{Total: 8, Usable: 6, Reserved: 3, Free: 3, UtilizationPct: 50}
	if d := cmp.Diff(want, st, protocmp.Transform()); err != nil || d != "" {
		t.Error(err, d)
	}
	st, err = w.networks.GetNetworkStats(admin, &ippb.GetNetworkStatsRequest{Id: 2})
	if err != nil || st.GetTotal() != 1<<31-1 || st.GetReserved() != 2 || st.GetUtilizationPct() >= 1 {
		t.Error(st, err)
	}
	_, err = w.pools.GetPoolStats(admin, &ippb.GetPoolStatsRequest{Id: 99})
	wantFault(t, "no pool", err, "NOT_FOUND", "")

	six, err := w.list.ListAddresses(admin, &ippb.ListAddressesRequest{Query: where("note", "printer")})
	if err != nil || six.GetSize() != 2 {
		t.Fatal(six, err)
	}
	for _, a := range append(six.GetList(), &ippb.Address{Id: ids["192.0.2.2"]}, &ippb.Address{Id: ids["192.0.2.2"]}) {
		if _, err := w.list.FreeAddress(admin, &ippb.FreeAddressRequest{Id: a.GetId()}); err != nil {
			t.Error(err)
		}
	}
	if a, b := w.fill(t, pool); a != "1/6" || b[0] != '1' {
		t.Error(a, b)
	}
	_, err = w.list.GetAddress(admin, &ippb.GetAddressRequest{Id: six.GetList()[1].GetId()})
	wantFault(t, "a free IPv6 address", err, "NOT_FOUND", "")
}

func TestPoolOfAnAccount(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.network(t, "192.0.2.0/24")
	theirs, all := w.newPool(t, "theirs", "192.0.2.8"), w.newPool(t, "all", "192.0.2.16/28")
	seven, nobody := int32(7), int32(0)
	bind := func(to *int32) {
		t.Helper()
		if _, err := w.pools.UpdatePool(w.admin(t), &ippb.UpdatePoolRequest{Id: theirs, Account: to}); err != nil {
			t.Fatal(err)
		}
	}
	bind(&seven)
	bind(nil) // changes nothing
	if p, err := w.pools.GetPool(w.admin(t), &ippb.GetPoolRequest{Id: theirs}); err != nil || p.GetAccount().GetValue() != 7 {
		t.Error(p, err)
	}
	ask := func(account int32, pools ...int32) (string, error) {
		r, err := w.addresses.Reserve(t.Context(), &ippb.ReserveRequest{Owner: newOwner(), ClusterId: 1, Ipv4Count: 1, AccountId: account, PoolIds: pools})
		if err != nil {
			return "", err
		}
		return texts(r)[0], nil
	}
	for _, account := range []int32{0, 8} {
		if ip, err := ask(account); err != nil || ip == "192.0.2.8" {
			t.Errorf("account %d: %s %v", account, ip, err)
		}
		_, err := ask(account, theirs)
		wantFault(t, "another's pool", err, "INVALID_ARGUMENT", "pool_ids")
		_, err = ask(account, all, theirs)
		wantFault(t, "another's pool besides", err, "INVALID_ARGUMENT", "pool_ids")
	}
	if ip, err := ask(7); err != nil || ip != "192.0.2.8" {
		t.Error(ip, err)
	}
	_, err := ask(7, theirs)
	wantFault(t, "its own is used up", err, "NO_FREE_ADDRESS", "")
	bind(&nobody)
	_, err = ask(8, theirs)
	wantFault(t, "open to all", err, "NO_FREE_ADDRESS", "")
	_, err = w.pools.UpdatePool(w.admin(t), &ippb.UpdatePoolRequest{Id: all, Account: func() *int32 { n := int32(-1); return &n }()})
	wantFault(t, "no account", err, "INVALID_ARGUMENT", "account")
}
