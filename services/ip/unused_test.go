package ip_test

import (
	"strings"
	"testing"

	ippb "slipway.dev/proto/ip/v3"
)

// state returns the state of an address, "" without a row.
func (w *world) stateOf(t testing.TB, ip string) (state string) {
	t.Helper()
	if err := w.pool.QueryRow(t.Context(), `SELECT coalesce((SELECT state FROM address WHERE ip = $1), '')`, ip).Scan(&state); err != nil {
		t.Fatal(err)
	}
	return state
}

// TestUnusedIsFreeAtOnce: what no machine can have used needs no quarantine.
func TestUnusedIsFreeAtOnce(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		confirm, unused, byKey, byID bool
		four, six                    string
	}{
		"reserved":          {four: "free"},
		"reserved, by key":  {byKey: true, four: "free"},
		"reserved, by id":   {byID: true, four: "free"},
		"confirmed":         {confirm: true, four: "quarantined", six: "quarantined"},
		"confirmed, by key": {confirm: true, byKey: true, four: "quarantined", six: "quarantined"},
		"confirmed, unused": {confirm: true, unused: true, four: "free"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := start(t)
			w.network(t, "192.0.2.0/24")
			w.network(t, "2001:db8::/64")
			w.newPool(t, "p", "192.0.2.4/31", "2001:db8::/64")
			owner := newOwner()
			got, err := w.addresses.Reserve(t.Context(), &ippb.ReserveRequest{Owner: owner, ClusterId: 1, Ipv4Count: 1, Ipv6Count: 1})
			if err != nil {
				t.Fatal(err)
			}
			if tt.confirm {
				if _, err := w.addresses.Confirm(t.Context(), &ippb.ConfirmRequest{Owner: owner}); err != nil {
					t.Fatal(err)
				}
			}
			r := &ippb.ReleaseRequest{Owner: owner, Unused: tt.unused}
			if tt.byKey {
				r.Key = owner
			}
			if tt.byID {
				for _, a := range got.GetAddresses() {
					r.Addresses = append(r.Addresses, &ippb.HeldAddress{Id: a.GetId(), Generation: a.GetGeneration()})
				}
			}
			back, err := w.addresses.Release(t.Context(), r)
			if err != nil || back.GetReleased() != 2 {
				t.Error(back, err)
			}
			four, six := w.stateOf(t, "192.0.2.4"), w.stateOf(t, got.GetAddresses()[1].GetIpAddr())
			if four != tt.four || six != tt.six {
				t.Errorf("IPv4 %q, IPv6 %q", four, six)
			}
			var generation int32
			if err := w.pool.QueryRow(t.Context(), `SELECT generation FROM address WHERE ip = '192.0.2.4'`).Scan(&generation); err != nil || generation <= got.GetAddresses()[0].GetGeneration() {
				t.Error("the generation did not grow", generation, err)
			}
		})
	}
}

// TestQuarantinedOnAWish: the account that had an address gets it back on a wish, others learn how long it takes.
func TestQuarantinedOnAWish(t *testing.T) {
	t.Parallel()
	for _, ip := range []string{"192.0.2.5", "2001:db8::5"} {
		t.Run(ip, func(t *testing.T) {
			t.Parallel()
			w := start(t)
			w.network(t, "192.0.2.0/24")
			w.network(t, "2001:db8::/64")
			w.newPool(t, "p", "192.0.2.4/30", "2001:db8::/64")
			wish := func(account int32) (string, error) {
				owner := newOwner()
				_, err := w.addresses.Reserve(t.Context(), &ippb.ReserveRequest{Owner: owner, ClusterId: 1, AccountId: account, Wish: ip})
				return owner, err
			}
			must := func(what string, err error) {
				t.Helper()
				if err != nil {
					t.Fatal(what, err)
				}
			}
			first, err := wish(7)
			must("first", err)
			_, err = w.addresses.Confirm(t.Context(), &ippb.ConfirmRequest{Owner: first})
			must("confirm", err)
			_, err = wish(8)
			wantFault(t, "in use", err, "WISH_TAKEN", "wish")
			_, err = w.addresses.Release(t.Context(), &ippb.ReleaseRequest{Owner: first})
			must("release", err)
			for _, other := range []int32{0, 8} {
				_, err = wish(other)
				wantFault(t, "another account", err, "QUARANTINED", "wish")
				var until string
				must("until", w.pool.QueryRow(t.Context(), `
					SELECT to_char(until AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') FROM address WHERE ip = $1`, ip).Scan(&until))
				if !strings.Contains(err.Error(), "quarantine") || !strings.Contains(err.Error(), until) {
					t.Errorf("%v does not say quarantine until %s", err, until)
				}
			}
			again, err := wish(7)
			must("the account that had it", err)

			// Unused it goes on with its quarantine: nobody gets around that by a wish.
			_, err = w.addresses.Release(t.Context(), &ippb.ReleaseRequest{Owner: again})
			must("release", err)
			_, err = wish(8)
			wantFault(t, "after an unused reservation", err, "QUARANTINED", "wish")
			_, err = wish(7)
			must("once more", err)
			w.exec(t, `UPDATE address SET until = now() - interval '1 second' WHERE ip = $1`, ip)
			_, err = wish(8)
			wantFault(t, "after a reservation that expired", err, "QUARANTINED", "wish")
			again, err = wish(7)
			must("a third time", err)
			_, err = w.addresses.Confirm(t.Context(), &ippb.ConfirmRequest{Owner: again})
			must("confirm", err)
		})
	}
}
