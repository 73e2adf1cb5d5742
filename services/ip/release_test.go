package ip_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	querypb "slipway.dev/proto/query/v1"

	ippb "slipway.dev/proto/ip/v3"
)

// TestKeys: further addresses of an owner are taken, confirmed and given back by themselves.
func TestKeys(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.network(t, "192.0.2.0/24")
	w.network(t, "2001:db8::/64")
	w.newPool(t, "p", "192.0.2.16/28", "2001:db8::/64")
	owner, key := newOwner(), newOwner()
	take := func(key string, v4, v6 int32) []string {
		t.Helper()
		r, err := w.addresses.Reserve(t.Context(), &ippb.ReserveRequest{Owner: owner, Key: key, ClusterId: 1, Ipv4Count: v4, Ipv6Count: v6})
		if err != nil {
			t.Fatal(err)
		}
		return texts(r)
	}
	take("", 1, 0)
	if _, err := w.addresses.Confirm(t.Context(), &ippb.ConfirmRequest{Owner: owner, Key: owner}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if d := cmp.Diff([]string{"192.0.2.17", "192.0.2.18", "2001:db8::2"}, take(key, 2, 1)); d != "" {
			t.Error(d)
		}
	}
	if got := take(newOwner(), 1, 0); got[0] != "192.0.2.19" {
		t.Error(got)
	}
	_, err := w.addresses.Confirm(t.Context(), &ippb.ConfirmRequest{Owner: owner, Key: newOwner()})
	wantFault(t, "a key that nothing was taken under", err, "RESERVATION_LAPSED", "")
	if _, err := w.addresses.Confirm(t.Context(), &ippb.ConfirmRequest{Owner: owner, Key: key}); err != nil {
		t.Error(err)
	}
	l, err := w.list.ListAddresses(w.admin(t), &ippb.ListAddressesRequest{Query: where("state", "assigned")})
	if err != nil || l.GetSize() != 4 {
		t.Error(l, err)
	}
	for _, want := range []int32{3, 0} {
		r, err := w.addresses.Release(t.Context(), &ippb.ReleaseRequest{Owner: owner, Key: key})
		if err != nil || r.GetReleased() != want {
			t.Error(r, err)
		}
	}
	if r, err := w.addresses.Release(t.Context(), &ippb.ReleaseRequest{Owner: owner}); err != nil || r.GetReleased() != 2 {
		t.Error(r, err)
	}
	_, err = w.addresses.Release(t.Context(), &ippb.ReleaseRequest{Owner: owner, Key: "x"})
	wantFault(t, "no key", err, "INVALID_ARGUMENT", "key")
}

// TestReleaseCompares: a release that comes late takes nothing from anybody, not even from the same owner.
func TestReleaseCompares(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.noQuarantine(t)
	w.network(t, "192.0.2.0/24")
	w.newPool(t, "p", "192.0.2.4")
	owner := newOwner()
	take := func(owner string) *ippb.Address {
		t.Helper()
		r, err := w.addresses.Reserve(t.Context(), &ippb.ReserveRequest{Owner: owner, ClusterId: 1, Ipv4Count: 1})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.addresses.Confirm(t.Context(), &ippb.ConfirmRequest{Owner: owner}); err != nil {
			t.Fatal(err)
		}
		return r.GetAddresses()[0]
	}
	release := func(owner string, a *ippb.Address, released int32) {
		t.Helper()
		r, err := w.addresses.Release(t.Context(), &ippb.ReleaseRequest{
			Owner: owner, Addresses: []*ippb.HeldAddress{{Id: a.GetId(), Generation: a.GetGeneration()}},
		})
		if err != nil || r.GetReleased() != released || len(r.GetRefused()) != 1-int(released) {
			t.Errorf("%v %v", r, err)
		}
	}
	first := take(owner)
	release(newOwner(), first, 0)
	release(owner, first, 1)
	release(owner, first, 0)
	second := take(owner)
	if second.GetId() != first.GetId() || second.GetGeneration() <= first.GetGeneration() {
		t.Fatalf("%v after %v", second, first)
	}
	release(owner, first, 0) // the late one
	release(owner, &ippb.Address{Id: second.GetId()}, 1)
	other := newOwner()
	third := take(other)

	// Who had it when is remembered, the latest first.
	h, err := w.list.ListAddressHistory(w.admin(t), &ippb.ListAddressHistoryRequest{Id: third.GetId()})
	if err != nil || h.GetSize() != 3 {
		t.Fatal(h, err)
	}
	for i, want := range []string{other, owner, owner} {
		x := h.GetList()[i]
		if x.GetOwner() != want || x.GetIpAddr() != "192.0.2.4" || x.GetDateFrom() == "" || (x.GetDateTo() == "") != (i == 0) {
			t.Errorf("%d: %v", i, x)
		}
	}
	h, err = w.list.ListNetworkHistory(w.admin(t), &ippb.ListNetworkHistoryRequest{Id: 1, Query: where("owner", owner)})
	if err != nil || h.GetSize() != 2 {
		t.Error(h, err)
	}
	h, err = w.list.ListNetworkHistory(w.admin(t), &ippb.ListNetworkHistoryRequest{Id: 1, Query: &querypb.Query{Limit: 1}})
	if err != nil || h.GetSize() != 3 || len(h.GetList()) != 1 || h.GetList()[0].GetOwner() != other {
		t.Error(h, err)
	}
	for _, err := range []error{
		func() error {
			_, err := w.list.ListAddressHistory(w.admin(t), &ippb.ListAddressHistoryRequest{Id: 99})
			return err
		}(),
		func() error {
			_, err := w.list.ListNetworkHistory(w.admin(t), &ippb.ListNetworkHistoryRequest{Id: 99})
			return err
		}(),
	} {
		wantFault(t, "history of nothing", err, "NOT_FOUND", "")
	}
}

// TestHistoryOfIPv6: the history of an IPv6 address remains when its row is gone.
func TestHistoryOfIPv6(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.network(t, "2001:db8::/64")
	w.newPool(t, "p", "2001:db8::/64")
	owner := newOwner()
	r, err := w.addresses.Reserve(t.Context(), &ippb.ReserveRequest{Owner: owner, ClusterId: 1, Ipv6Count: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.addresses.Confirm(t.Context(), &ippb.ConfirmRequest{Owner: owner}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.addresses.Release(t.Context(), &ippb.ReleaseRequest{Owner: owner}); err != nil {
		t.Fatal(err)
	}
	w.exec(t, `DELETE FROM address WHERE state = 'quarantined'`)
	h, err := w.list.ListAddressHistory(w.admin(t), &ippb.ListAddressHistoryRequest{Id: r.GetAddresses()[0].GetId()})
	if err != nil || h.GetSize() != 1 || h.GetList()[0].GetOwner() != owner {
		t.Error(h, err)
	}
}

func TestSetting(t *testing.T) {
	t.Parallel()
	w := start(t)
	get := func() string {
		s, err := w.settings.GetSetting(w.admin(t), &ippb.GetSettingRequest{Name: "quarantine_seconds"})
		if err != nil {
			t.Fatal(err)
		}
		return s.GetValue()
	}
	if got := get(); got != "300" {
		t.Errorf("default %s", got)
	}
	for _, bad := range []string{"-1", "86401", "", "soon", strings.Repeat("9", 40)} {
		_, err := w.settings.UpdateSetting(w.admin(t), &ippb.UpdateSettingRequest{Name: "quarantine_seconds", Value: bad})
		wantFault(t, bad, err, "INVALID_ARGUMENT", "value")
	}
	if _, err := w.settings.UpdateSetting(w.admin(t), &ippb.UpdateSettingRequest{Name: "quarantine_seconds", Value: "60"}); err != nil || get() != "60" {
		t.Error(err, get())
	}
	_, err := w.settings.GetSetting(w.admin(t), &ippb.GetSettingRequest{Name: "other"})
	wantFault(t, "another", err, "NOT_FOUND", "")
	w.network(t, "192.0.2.0/24")
	w.newPool(t, "p", "192.0.2.4")
	owner, _ := w.reserve4(t, 1)
	w.giveBackUsed(t, owner)
	var seconds int
	err = w.pool.QueryRow(t.Context(), `SELECT max(extract(epoch FROM until - now()))::int FROM address`).Scan(&seconds)
	if err != nil || seconds < 45 || seconds > 60 {
		t.Errorf("quarantine of %d s, %v", seconds, err)
	}
}
