package auth_test

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"

	authpb "slipway.dev/proto/auth/v4"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/bus/bustest"
	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/pg/pgtest"
	"slipway.dev/pkg/rpc"
	"slipway.dev/pkg/service"
)

// fakeVM is vm as auth knows it: how many hosts accounts have, and whether they went to the heir.
type fakeVM struct {
	vmpb.UnimplementedAccountServiceServer
	mu      sync.Mutex
	hosts   map[int32]int32
	away    bool
	asked   int
	awaited func(account int32)
}

func (f *fakeVM) CountHosts(_ context.Context, r *vmpb.CountHostsRequest) (*vmpb.CountHostsResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	if f.away {
		return nil, fault.Unavailable
	}
	return &vmpb.CountHostsResponse{Hosts: f.hosts[r.GetAccount()]}, nil
}

func (f *fakeVM) AwaitHeir(_ context.Context, r *vmpb.AwaitHeirRequest) (*vmpb.AwaitHeirResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.awaited != nil {
		f.awaited(r.GetAccount())
	}
	if f.away {
		return nil, fault.Unavailable
	}
	return &vmpb.AwaitHeirResponse{}, nil
}

// startBesideVM is start where there is a vm.
func startBesideVM(t *testing.T) (*world, *fakeVM) {
	t.Helper()
	f := &fakeVM{hosts: map[int32]int32{}}
	vm := rpc.NewServer(slog.New(slog.DiscardHandler), nil)
	vmpb.RegisterAccountServiceServer(vm, f)
	return startWith(t, pgtest.New(t), bustest.New(t), nil, service.Peers{"vm": vm.Local("auth")}), f
}

func (w *world) delete(ctx context.Context, id int32) error {
	_, err := w.users.DeleteUser(ctx, &authpb.DeleteUserRequest{Id: id})
	return err
}

// TestHeir: what an account had goes to the account that deletes it, by whichever of its credentials, and to the first
// administrator if an account deletes itself. The e-mail is free at once.
func TestHeir(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	events := w.watch(t)
	boss, asBoss := w.user(t, "boss@example.com", identity.RoleAdmin)
	_, key := w.apiKey(t, asBoss, &authpb.CreateAPIKeyRequest{Name: "k"})
	if _, err := w.roles().CreateRole(w.admin(t), &authpb.CreateRoleRequest{Name: "support", All: true, Scopes: []string{"*"}}); err != nil {
		t.Fatal(err)
	}
	support, asSupport := w.user(t, "support@example.com", "support")
	for _, tt := range []struct {
		what  string
		by    context.Context
		heir  int32
		actor string
	}{
		{"an administrator", w.admin(t), 1, adminEmail},
		{"another one", asBoss, boss, "boss@example.com"},
		{"an API key", w.as(t, key), boss, "boss@example.com"},
		{"a role for it", asSupport, support, "support@example.com"},
		{"the account itself", nil, 1, "gone@example.com"},
		{"the first administrator itself", nil, boss, adminEmail},
	} {
		id, ctx := int32(1), w.admin(t)
		if tt.actor != adminEmail || tt.by != nil {
			role := identity.RoleUser
			if tt.by == nil {
				role = identity.RoleAdmin
			}
			id, ctx = w.user(t, "gone@example.com", role)
		}
		if tt.by != nil {
			ctx = tt.by
		}
		if err := w.delete(ctx, id); err != nil {
			t.Fatalf("%s: %v", tt.what, err)
		}
		var d authpb.UserDeleted
		for {
			e := <-events
			if e.Subject != "auth.v4.user.deleted" {
				continue
			}
			if err := e.Decode(&d); err != nil {
				t.Fatal(err)
			}
			break
		}
		if d.GetId() != id || d.GetHeir() != tt.heir || d.GetActor() != tt.actor || d.GetActorId() == 0 {
			t.Errorf("%s: %v, want the heir %d by %s", tt.what, &d, tt.heir, tt.actor)
		}
	}
	if after := w.count(t, `SELECT count(*) FROM audit WHERE action LIKE '%DeleteUser' AND after ->> 'heir' <> ''`); after != 6 {
		t.Errorf("%d deletions are recorded with their heir", after)
	}
}

// TestDeletionAwaitsVM: the account is gone before vm is asked, and the answer comes after vm's. Without vm it comes as well.
func TestDeletionAwaitsVM(t *testing.T) {
	t.Parallel()
	w, vm := startBesideVM(t)
	for _, away := range []bool{false, true} {
		id, _ := w.user(t, "gone@example.com", "")
		var asked []int32
		vm.mu.Lock()
		vm.away = away
		vm.awaited = func(account int32) {
			if n := w.count(t, `SELECT count(*) FROM user_account WHERE id = $1`, account); n != 0 {
				t.Error("vm is asked before the account is gone")
			}
			asked = append(asked, account)
		}
		vm.mu.Unlock()
		if err := w.delete(w.admin(t), id); err != nil || !slices.Equal(asked, []int32{id}) {
			t.Errorf("away %v: %v, asked for %v", away, err, asked)
		}
	}
	if vm.asked != 0 {
		t.Error("the hosts are counted although they may be given")
	}
}

// TestDeleteGivesNoHosts: where the setting says so, an account that has hosts is refused with their number, and stays.
func TestDeleteGivesNoHosts(t *testing.T) {
	t.Parallel()
	w, vm := startBesideVM(t)
	id, _ := w.user(t, "owner@example.com", "")
	_, other := w.user(t, "other@example.com", "")
	if _, err := w.set.UpdateSetting(w.admin(t), &authpb.UpdateSettingRequest{Name: "delete_gives_hosts", Value: "0"}); err != nil {
		t.Fatal(err)
	}
	vm.hosts[id] = 3
	err := w.delete(w.admin(t), id)
	f, ok := fault.From(err)
	if !ok || f.Reason != "ACCOUNT_HAS_HOSTS" || f.Code != codes.InvalidArgument || !strings.Contains(f.Msg, "3") {
		t.Errorf("an account with hosts: %v", err)
	}
	if _, err := w.login(t, "owner@example.com", "pw", ""); err != nil {
		t.Errorf("the account that stays: %v", err)
	}
	asked := vm.asked
	wantFault(t, "a user", w.delete(other, id), "PERMISSION_DENIED", "")
	wantFault(t, "no account", w.delete(w.admin(t), 999), "NOT_FOUND", "")
	if vm.asked != asked {
		t.Error("hosts are counted for a caller who may not know")
	}
	vm.away = true
	wantFault(t, "vm is away", w.delete(w.admin(t), id), "UNAVAILABLE", "")
	vm.away, vm.hosts[id] = false, 0
	if err := w.delete(w.admin(t), id); err != nil {
		t.Errorf("an account without hosts: %v", err)
	}

	alone := start(t, nil)
	id, _ = alone.user(t, "owner@example.com", "")
	if _, err := alone.set.UpdateSetting(alone.admin(t), &authpb.UpdateSettingRequest{Name: "delete_gives_hosts", Value: "0"}); err != nil {
		t.Fatal(err)
	}
	wantFault(t, "no vm", alone.delete(alone.admin(t), id), "UNAVAILABLE", "")
}

// TestListUserIDs: a service gets the ids of all accounts, in pages.
func TestListUserIDs(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	a, _ := w.user(t, "a@example.com", "")
	b, _ := w.user(t, "b@example.com", "")
	var all []int32
	for after := int32(0); ; after = all[len(all)-1] {
		r, err := w.vm.ListUserIDs(t.Context(), &authpb.ListUserIDsRequest{After: after})
		if err != nil {
			t.Fatal(err)
		}
		if len(r.GetIds()) == 0 {
			break
		}
		all = append(all, r.GetIds()...)
	}
	if !slices.Equal(all, []int32{1, a, b}) {
		t.Errorf("ids %v", all)
	}
	_, err := w.users.ListUserIDs(w.admin(t), &authpb.ListUserIDsRequest{})
	wantFault(t, "a client", err, "PERMISSION_DENIED", "")
}
