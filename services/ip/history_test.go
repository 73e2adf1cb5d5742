package ip_test

import (
	"testing"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	ippb "slipway.dev/proto/ip/v3"
)

// TestAddressesOfMachinesAreHeld: the database is on a new history, which lacks what was acknowledged. No kind of claim gets an
// address until the addresses that machines have are held; after that nobody else gets one of those.
func TestAddressesOfMachinesAreHeld(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.network(t, "10.7.0.0/24")
	w.network(t, "fd07::/64")
	pool := w.newPool(t, "p", "10.7.0.10-10.7.0.17", "fd07::10-fd07::13")
	owner, ips := w.reserve4(t, 1) // 10.7.0.10
	if _, err := w.addresses.Confirm(t.Context(), &ippb.ConfirmRequest{Owner: owner}); err != nil {
		t.Fatal(err)
	}
	lapsing, _ := w.reserve4(t, 1) // 10.7.0.11: its host was lost, and the reservation would lapse
	w.exec(t, `INSERT INTO timeline (system, number) VALUES (7, 9)`)
	for name, r := range map[string]*ippb.ReserveRequest{
		"one": {Ipv4Count: 1}, "two": {Ipv4Count: 2}, "of a pool": {Ipv4Count: 1, PoolIds: []int32{pool}}, "IPv6": {Ipv6Count: 1},
		"both": {Ipv4Count: 1, Ipv6Count: 1}, "a wish": {Wish: "10.7.0.15"}, "an IPv6 wish": {Wish: "fd07::12"},
		"further ones": {Ipv4Count: 1, Owner: owner, Key: uuid.NewString()},
	} {
		if r.ClusterId = 1; r.Owner == "" {
			r.Owner = newOwner()
		}
		if resp, err := w.addresses.Reserve(t.Context(), r); status.Code(err) != codes.Unavailable {
			t.Errorf("%s: %v, %v", name, resp, err)
		}
	}
	if _, err := w.addresses.Reserve(t.Context(), &ippb.ReserveRequest{Owner: owner, ClusterId: 1, Ipv4Count: 1}); err != nil {
		t.Errorf("a repeat of an earlier claim: %v", err)
	}
	ledger := ippb.NewLedgerServiceClient(w.Server().Local("vm"))
	open, err := ledger.ListOpenHistories(t.Context(), &ippb.ListOpenHistoriesRequest{})
	if err != nil || len(open.GetHistories()) != 1 || open.GetHistories()[0].GetNumber() != 9 {
		t.Fatalf("open are %v, %v", open, err)
	}
	stranger := uuid.NewString()
	var seen []*ippb.SeenAddress
	for _, x := range [][2]string{
		{ips[0], owner}, {"10.7.0.11", lapsing}, {"10.7.0.12", stranger}, {"10.7.0.12", uuid.NewString()}, {"fd07::11", stranger}, {"192.0.2.1", stranger},
	} {
		seen = append(seen, &ippb.SeenAddress{IpAddr: x[0], Machine: x[1]})
	}
	for i, want := range []int32{3, 0} { // a repeat changes nothing
		resp, err := ledger.SettleHistories(t.Context(), &ippb.SettleHistoriesRequest{Histories: open.GetHistories(), Seen: seen})
		if err != nil || resp.GetHeld() != want {
			t.Errorf("%d: held %v, %v, want %d", i, resp, err, want)
		}
	}
	w.exec(t, `UPDATE address SET until = now() - interval '1 minute' WHERE until IS NOT NULL`)
	got := map[string]bool{}
	for range 5 {
		_, list := w.reserve4(t, 1)
		got[list[0]] = true
	}
	six, err := w.addresses.Reserve(t.Context(), &ippb.ReserveRequest{Owner: newOwner(), ClusterId: 1, Ipv6Count: 3})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range six.GetAddresses() {
		got[a.GetIpAddr()] = true
	}
	for _, held := range []string{"10.7.0.10", "10.7.0.11", "10.7.0.12", "fd07::11"} {
		if got[held] {
			t.Errorf("%s was given a second time: %v", held, got)
		}
	}
	if len(got) != 8 {
		t.Errorf("given are %v", got)
	}
	if _, err := w.addresses.Reserve(t.Context(), &ippb.ReserveRequest{Owner: newOwner(), ClusterId: 1, Ipv4Count: 1}); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("when all others are given: %v", err)
	}
	for _, bad := range []*ippb.SeenAddress{{IpAddr: "x", Machine: stranger}, {IpAddr: "10.7.0.13", Machine: "x"}} {
		if _, err := ledger.SettleHistories(t.Context(), &ippb.SettleHistoriesRequest{Seen: []*ippb.SeenAddress{bad}}); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%v: %v", bad, err)
		}
	}
}
