package ip_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	authpb "slipway.dev/proto/auth/v4"
	ippb "slipway.dev/proto/ip/v3"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/bus"
	"slipway.dev/pkg/bus/bustest"
)

// publish emits an event as another service would.
func (w *world) publish(t *testing.T, subject string, m proto.Message) {
	t.Helper()
	data, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	bustest.Publish(t, w.bus, bus.Event{
		ID: uuid.NewString(), Subject: subject, Key: "k", Type: string(proto.MessageName(m)), Time: time.Now(), Data: data,
	})
}

// TestDeletedAccount: the pools of a deleted account go to its heir, or to that one's heir in whichever order the events come, and
// no pool is given to a deleted account later.
func TestDeletedAccount(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.run(t)
	four, five := int32(4), int32(5)
	pools := map[int32]int32{}
	for _, account := range []int32{4, 5, 7} {
		r, err := w.pools.CreatePool(w.admin(t), &ippb.CreatePoolRequest{Name: "p", Account: &account})
		if err != nil {
			t.Fatal(err)
		}
		pools[account] = r.GetId()
	}
	want := func(what string, of map[int32]int32) {
		t.Helper()
		w.await(t, func() string {
			for first, now := range of {
				p, err := w.pools.GetPool(w.admin(t), &ippb.GetPoolRequest{Id: pools[first]})
				if err != nil || p.GetAccount().GetValue() != now {
					return fmt.Sprintf("%s: the pool of %d: %v %v, want %d", what, first, p, err, now)
				}
			}
			return ""
		})
	}
	w.publish(t, "auth.v4.user.deleted", &authpb.UserDeleted{Id: 5, Heir: 6})
	want("one", map[int32]int32{4: 4, 5: 6, 7: 7})
	w.publish(t, "auth.v4.user.deleted", &authpb.UserDeleted{Id: 4, Heir: 5})
	want("its heir was deleted before", map[int32]int32{4: 6, 5: 6, 7: 7})
	w.publish(t, "auth.v4.user.deleted", &authpb.UserDeleted{Id: 6, Heir: 1})
	want("the heir", map[int32]int32{4: 1, 5: 1, 7: 7})
	_, err := w.pools.CreatePool(w.admin(t), &ippb.CreatePoolRequest{Name: "p", Account: &four})
	wantFault(t, "a pool of a deleted account", err, "INVALID_ARGUMENT", "account")
	_, err = w.pools.UpdatePool(w.admin(t), &ippb.UpdatePoolRequest{Id: pools[7], Account: &five})
	wantFault(t, "a pool given to a deleted account", err, "INVALID_ARGUMENT", "account")
	w.publish(t, "auth.v4.user.deleted", &authpb.UserDeleted{Id: 7}) // by a version without heirs
	w.publish(t, "auth.v4.user.deleted", &authpb.UserDeleted{Id: 1, Heir: 2})
	want("without an heir the pool stays", map[int32]int32{4: 2, 7: 7})
}

// TestMovedHost: the addresses of a host are booked for its account, and so is their history.
func TestMovedHost(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.run(t)
	w.network(t, "192.0.2.0/24")
	w.newPool(t, "p", "192.0.2.10-192.0.2.12")
	owner, other := newOwner(), newOwner()
	for _, o := range []string{owner, other} {
		r := &ippb.ReserveRequest{Owner: o, ClusterId: 1, Ipv4Count: 1, AccountId: 4}
		if _, err := w.addresses.Reserve(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if _, err := w.addresses.Confirm(t.Context(), &ippb.ConfirmRequest{Owner: o}); err != nil {
			t.Fatal(err)
		}
	}
	w.publish(t, "vm.v3.host.moved", &vmpb.HostChanged{Id: 1, Uuid: owner, AccountId: 6})
	accounts := func(o string) (address, history int32) {
		t.Helper()
		err := w.pool.QueryRow(t.Context(), `
			SELECT a.account_id, h.account_id FROM address a JOIN address_history h ON h.address_id = a.id WHERE a.owner = $1::uuid`, o).
			Scan(&address, &history)
		if err != nil {
			t.Fatal(err)
		}
		return address, history
	}
	w.await(t, func() string {
		if a, h := accounts(owner); a != 6 || h != 6 {
			return fmt.Sprintf("booked for %d, in the history for %d", a, h)
		}
		return ""
	})
	if a, h := accounts(other); a != 4 || h != 4 {
		t.Errorf("another host's is booked for %d, in the history for %d", a, h)
	}
	// The account that got the host has the first claim on its address after it.
	w.giveBackUsed(t, owner)
	r := &ippb.ReserveRequest{Owner: newOwner(), ClusterId: 1, Wish: "192.0.2.10", AccountId: 4}
	_, err := w.addresses.Reserve(t.Context(), r)
	wantFault(t, "the account that had the host before", err, "QUARANTINED", "wish")
	r.AccountId = 6
	if _, err := w.addresses.Reserve(t.Context(), r); err != nil {
		t.Error(err)
	}
}
