package ip_test

import (
	"testing"

	ippb "slipway.dev/proto/ip/v3"
)

// TestReleaseHolds: an address that is released with a note goes to no other owner until an administrator frees it; the
// owner's other addresses are not held.
func TestReleaseHolds(t *testing.T) {
	t.Parallel()
	for name, confirm := range map[string]bool{"reserved": false, "confirmed": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := start(t)
			w.network(t, "192.0.2.0/24")
			w.network(t, "2001:db8::/64")
			w.newPool(t, "p", "192.0.2.4/30", "2001:db8::/64")
			owner := newOwner()
			take := func(owner string, v4 int32) []*ippb.Address {
				t.Helper()
				r, err := w.addresses.Reserve(t.Context(), &ippb.ReserveRequest{Owner: owner, ClusterId: 1, Ipv4Count: v4, Ipv6Count: 1})
				if err != nil {
					t.Fatal(err)
				}
				return r.GetAddresses()
			}
			had := take(owner, 2)
			if confirm {
				if _, err := w.addresses.Confirm(t.Context(), &ippb.ConfirmRequest{Owner: owner}); err != nil {
					t.Fatal(err)
				}
			}
			hold := &ippb.ReleaseRequest{Owner: owner, Hold: "of a node", Addresses: []*ippb.HeldAddress{
				{Id: had[0].GetId(), Generation: had[0].GetGeneration()}, {Id: had[2].GetId(), Generation: had[2].GetGeneration()},
			}}
			for _, want := range []int32{2, 0} { // the second one comes twice
				if r, err := w.addresses.Release(t.Context(), hold); err != nil || r.GetReleased() != want {
					t.Errorf("%v %v", r, err)
				}
			}
			if _, err := w.addresses.Release(t.Context(), &ippb.ReleaseRequest{Owner: owner, Unused: true}); err != nil {
				t.Fatal(err)
			}
			for _, a := range []*ippb.Address{had[0], had[2]} {
				got, err := w.list.GetAddress(w.admin(t), &ippb.GetAddressRequest{Id: a.GetId()})
				if err != nil || got.GetStatus() != "reserved" || got.GetNote() != "of a node" || got.GetOwner() != "" {
					t.Errorf("%s is %v %v", a.GetIpAddr(), got, err)
				}
			}
			if s := w.stateOf(t, had[1].GetIpAddr()); s != "free" {
				t.Errorf("the owner's other address is %s", s)
			}
			for _, a := range take(newOwner(), 3) {
				if a.GetId() == had[0].GetId() || a.GetId() == had[2].GetId() {
					t.Errorf("%s was given", a.GetIpAddr())
				}
			}
			if _, err := w.list.FreeAddress(w.admin(t), &ippb.FreeAddressRequest{Id: had[0].GetId()}); err != nil {
				t.Fatal(err)
			}
			if s := w.stateOf(t, had[0].GetIpAddr()); s != "free" {
				t.Errorf("freed, and %s", s)
			}
		})
	}
}
