package ip_test

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/status"

	ippb "slipway.dev/proto/ip/v3"

	"slipway.dev/pkg/fault"
)

// owned is a world with a pool of account 7, one of account 8 and one of all, in this order.
type owned struct {
	*world
	ofSeven, ofEight, ofAll int32
	v4, v6                  int32 // the networks
}

func startOwned(t *testing.T) owned {
	t.Helper()
	o := owned{world: start(t)}
	o.v4, o.v6 = o.network(t, "192.0.2.0/24"), o.network(t, "2001:db8::/64")
	o.ofSeven = o.newPool(t, "seven", "192.0.2.8-192.0.2.15", "2001:db8::1:0/125")
	o.ofEight = o.newPool(t, "eight", "192.0.2.16-192.0.2.23", "2001:db8::2:0/125")
	o.ofAll = o.newPool(t, "all", "192.0.2.24-192.0.2.31", "2001:db8::3:0/125")
	for pool, account := range map[int32]int32{o.ofSeven: 7, o.ofEight: 8} {
		if _, err := o.pools.UpdatePool(o.admin(t), &ippb.UpdatePoolRequest{Id: pool, Account: &account}); err != nil {
			t.Fatal(err)
		}
	}
	return o
}

// pool returns the pool of an address.
func (o owned) pool(ip string) int32 {
	for pool, prefixes := range map[int32][]string{
		o.ofSeven: {"192.0.2.8/29", "2001:db8::1:0/112"}, o.ofEight: {"192.0.2.16/29", "2001:db8::2:0/112"},
		o.ofAll: {"192.0.2.24/29", "2001:db8::3:0/112"},
	} {
		for _, p := range prefixes {
			if netip.MustParsePrefix(p).Contains(netip.MustParseAddr(ip)) {
				return pool
			}
		}
	}
	return 0
}

// may reports whether an account may have addresses of a pool.
func (o owned) may(account, pool int32) bool {
	return pool == o.ofAll || pool == o.ofSeven && account == 7 || pool == o.ofEight && account == 8
}

// claimForms are the forms of claims, each with statements of its own.
var claimForms = map[string]func(o owned, r *ippb.ReserveRequest){
	"one":               func(_ owned, r *ippb.ReserveRequest) { r.Ipv4Count = 1 },
	"two":               func(_ owned, r *ippb.ReserveRequest) { r.Ipv4Count = 2 },
	"three":             func(_ owned, r *ippb.ReserveRequest) { r.Ipv4Count = 3 },
	"IPv6":              func(_ owned, r *ippb.ReserveRequest) { r.Ipv6Count = 2 },
	"both families":     func(_ owned, r *ippb.ReserveRequest) { r.Ipv4Count, r.Ipv6Count = 2, 1 },
	"a later claim":     func(_ owned, r *ippb.ReserveRequest) { r.Ipv4Count, r.Key = 2, newOwner() },
	"later, IPv6":       func(_ owned, r *ippb.ReserveRequest) { r.Ipv6Count, r.Key = 1, newOwner() },
	"of a network":      func(o owned, r *ippb.ReserveRequest) { r.Ipv4Count, r.NetworkId = 2, o.v4 },
	"of a network, v6":  func(o owned, r *ippb.ReserveRequest) { r.Ipv6Count, r.NetworkId = 1, o.v6 },
	"one, named":        func(o owned, r *ippb.ReserveRequest) { r.Ipv4Count, r.PoolIds = 1, o.open(r) },
	"two, named":        func(o owned, r *ippb.ReserveRequest) { r.Ipv4Count, r.PoolIds = 2, o.open(r) },
	"IPv6, named":       func(o owned, r *ippb.ReserveRequest) { r.Ipv6Count, r.PoolIds = 2, o.open(r) },
	"a later one named": func(o owned, r *ippb.ReserveRequest) { r.Ipv4Count, r.Key, r.PoolIds = 1, newOwner(), o.open(r) },
}

// open returns the pools that the account of a request may name.
func (o owned) open(r *ippb.ReserveRequest) (ids []int32) {
	for _, pool := range []int32{o.ofSeven, o.ofEight, o.ofAll} {
		if o.may(r.GetAccountId(), pool) {
			ids = append(ids, pool)
		}
	}
	return ids
}

// TestEveryClaimKeepsToItsPools claims in every form and for every account until nothing is left: an account gets the
// addresses of its own pool and of the open one, all of them, and none of another account's.
func TestEveryClaimKeepsToItsPools(t *testing.T) {
	t.Parallel()
	for name, form := range claimForms {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := startOwned(t)
			for _, account := range []int32{0, 7, 8, 9} {
				o.exec(t, `DELETE FROM address WHERE family(ip) = 6 AND state <> 'gateway'`)
				o.exec(t, `UPDATE address SET state = 'free', owner = NULL, claim = NULL, position = NULL, until = NULL, account_id = NULL
					WHERE state NOT IN ('gateway', 'network', 'broadcast')`)
				o.drain(t, account, form)
			}
		})
	}
}

// drain claims until there is no free address, and compares what came with the pools of the account.
func (o owned) drain(t *testing.T, account int32, form func(owned, *ippb.ReserveRequest)) {
	t.Helper()
	got := map[int32]int{}
	for range 40 {
		r := &ippb.ReserveRequest{Owner: newOwner(), ClusterId: 1, AccountId: account}
		form(o, r)
		list, err := o.addresses.Reserve(t.Context(), r)
		if err != nil {
			wantFault(t, "nothing is left", err, "NO_FREE_ADDRESS", "")
			break
		}
		for _, ip := range texts(list) {
			pool := o.pool(ip)
			got[pool]++
			if !o.may(account, pool) {
				t.Errorf("account %d got %s of pool %d", account, ip, pool)
			}
		}
	}
	for _, pool := range []int32{o.ofSeven, o.ofEight, o.ofAll} {
		if o.may(account, pool) && got[pool] < 4 {
			t.Errorf("account %d got only %d of pool %d", account, got[pool], pool)
		}
	}
	var wrong int
	err := o.world.pool.QueryRow(t.Context(), `
		SELECT count(*) FROM address a JOIN pool p ON p.id = a.pool_id
		WHERE a.owner IS NOT NULL AND (coalesce(a.account_id, 0) <> $1 OR p.account_id <> $1)`, account).Scan(&wrong)
	if err != nil || wrong > 0 {
		t.Errorf("%d rows of account %d are in pools of others: %v", wrong, account, err)
	}
}

// TestNamedPoolsOfOthersAreRefused asks for pools and addresses of another account by name, in every form.
func TestNamedPoolsOfOthersAreRefused(t *testing.T) {
	t.Parallel()
	o := startOwned(t)
	wish := map[int32][]string{o.ofSeven: {"192.0.2.9", "2001:db8::1:3"}, o.ofEight: {"192.0.2.17", "2001:db8::2:3"}}
	for _, account := range []int32{0, 7, 8, 9} {
		for _, theirs := range []int32{o.ofSeven, o.ofEight} {
			if o.may(account, theirs) {
				continue
			}
			for name, form := range claimForms {
				for _, pools := range [][]int32{{theirs}, {o.ofAll, theirs}, {theirs, o.ofAll}} {
					r := &ippb.ReserveRequest{Owner: newOwner(), ClusterId: 1, AccountId: account}
					form(o, r)
					r.PoolIds = pools
					_, err := o.addresses.Reserve(t.Context(), r)
					wantFault(t, fmt.Sprint(name, account, pools), err, "INVALID_ARGUMENT", "pool_ids")
				}
			}
			for _, ip := range wish[theirs] {
				for _, n := range []int32{0, 1, 2} {
					r := &ippb.ReserveRequest{Owner: newOwner(), ClusterId: 1, AccountId: account, Wish: ip, Ipv4Count: n}
					_, err := o.addresses.Reserve(t.Context(), r)
					wantFault(t, fmt.Sprint(ip, account, n), err, "INVALID_ARGUMENT", "wish")
				}
			}
		}
	}
	var taken int
	err := o.world.pool.QueryRow(t.Context(), `SELECT count(*) FROM address WHERE owner IS NOT NULL`).Scan(&taken)
	if err != nil || taken > 0 {
		t.Errorf("refused claims took %d addresses: %v", taken, err)
	}
}

// TestForeignPoolIsMissing: a pool of another account is answered as a pool that does not exist, whether it serves the cluster or
// not, alone and beside others.
func TestForeignPoolIsMissing(t *testing.T) {
	t.Parallel()
	o := startOwned(t)
	elsewhere, eight := o.newPool(t, "eight-elsewhere"), int32(8)
	o.exec(t, `DELETE FROM pool_cluster WHERE pool_id = $1`, elsewhere)
	if _, err := o.pools.UpdatePool(o.admin(t), &ippb.UpdatePoolRequest{Id: elsewhere, Account: &eight}); err != nil {
		t.Fatal(err)
	}
	const missing = 999_999
	for name, form := range claimForms {
		answer := func(pools ...int32) string {
			r := &ippb.ReserveRequest{Owner: newOwner(), ClusterId: 1, AccountId: 7}
			form(o, r)
			r.PoolIds = pools
			_, err := o.addresses.Reserve(t.Context(), r)
			return strings.ReplaceAll(status.Convert(err).Message(), fmt.Sprint(pools[len(pools)-1]), "ID")
		}
		for _, theirs := range []int32{o.ofEight, elsewhere} {
			if foreign, none := answer(theirs), answer(missing); foreign != none {
				t.Errorf("%s: %q, and of nobody: %q", name, foreign, none)
			}
			if foreign, none := answer(o.ofAll, theirs), answer(o.ofAll, missing); foreign != none {
				t.Errorf("%s, beside another: %q, and of nobody: %q", name, foreign, none)
			}
		}
	}
}

// TestClaimsOfManyAccountsAtOnce has claims of several accounts arrive together: those that are sent as one statement
// are of one account.
func TestClaimsOfManyAccountsAtOnce(t *testing.T) {
	t.Parallel()
	o := startOwned(t)
	var all sync.WaitGroup
	for i := range 24 {
		account := []int32{7, 8, 0}[i%3]
		all.Go(func() {
			r, err := o.addresses.Reserve(t.Context(), &ippb.ReserveRequest{
				Owner: newOwner(), ClusterId: 1, AccountId: account, Ipv4Count: 1 + int32(i/3%2),
			})
			if f, _ := fault.From(err); err != nil && (f == nil || f.Reason != "NO_FREE_ADDRESS") {
				t.Errorf("account %d: %v", account, status.Convert(err))
			}
			for _, ip := range texts(r) {
				if !o.may(account, o.pool(ip)) {
					t.Errorf("account %d got %s", account, ip)
				}
			}
		})
	}
	all.Wait()
}
