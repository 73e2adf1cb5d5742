package access

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	authpb "slipway.dev/proto/auth/v4"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
)

// installer is the context of calls of the first administrator.
func (w *world) installer() context.Context {
	w.Helper()
	ctx, err := w.replicas[0].AsAdmin(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	return ctx
}

func (w *world) account(email string) int32 {
	w.Helper()
	r, err := authpb.NewUserServiceClient(w.replicas[0].Conn("auth", "gateway")).
		CreateUser(w.installer(), &authpb.CreateUserRequest{Email: email, Password: "pw"})
	if err != nil {
		w.Fatal(err)
	}
	return r.GetId()
}

// actFor returns a context of calls of prov for an account.
func (w *world) actFor(account int32, scopes ...string) (context.Context, error) {
	r, err := authpb.NewTokenServiceClient(w.replicas[0].Conn("auth", "prov")).
		ActFor(w.Context(), &authpb.ActForRequest{AccountId: account, Scopes: scopes})
	return w.as(r.GetIdentity()), err
}

func reason(err error) string {
	f, _ := fault.From(err)
	if f == nil {
		return ""
	}
	return f.Reason
}

// TestActs: a service is the account, for the methods that let it in and the scopes that it asked for, and nothing else.
func TestActs(t *testing.T) {
	t.Parallel()
	w := build(t, 1)
	id := w.account("seven@example.com")
	acting, err := w.actFor(id, "vms.read", "vms.power")
	if err != nil {
		t.Fatal(err)
	}
	hosts := vmpb.NewHostServiceClient(w.replicas[0].Conn("vm", "prov"))
	if _, err := hosts.GetHost(acting, &vmpb.GetHostRequest{Id: 1}); reason(err) != "NOT_FOUND" {
		t.Errorf("within its scopes: %v", err)
	}
	_, err = hosts.DeleteHost(acting, &vmpb.DeleteHostRequest{Id: 1})
	if f, _ := fault.From(err); f == nil || !errors.Is(f, fault.Denied) || f.Scope != "vms.delete" {
		t.Errorf("a scope that it did not ask for: %v", err)
	}
	if _, err := hosts.RestartHost(acting, &vmpb.RestartHostRequest{Id: 1}); status.Code(err) != codes.PermissionDenied {
		t.Errorf("a method that does not let it in: %v", err)
	}
	for _, caller := range []string{"gateway", "node", "dci"} {
		other := vmpb.NewHostServiceClient(w.replicas[0].Conn("vm", caller))
		if _, err := other.GetHost(acting, &vmpb.GetHostRequest{Id: 1}); status.Code(err) != codes.PermissionDenied {
			t.Errorf("%s uses the identity of prov: %v", caller, err)
		}
	}
	for name, tt := range map[string]struct {
		caller string
		id     int32
		scopes []string
		want   string
	}{
		"a service that may not act": {"vm", id, []string{"vms.read"}, "PERMISSION_DENIED"},
		"the gateway":                {"gateway", id, []string{"vms.read"}, "PERMISSION_DENIED"},
		"no scope":                   {"prov", id, nil, "INVALID_ARGUMENT"},
		"a pattern":                  {"prov", id, []string{"*"}, "INVALID_ARGUMENT"},
		"more than the account":      {"prov", id, []string{"users.write"}, "PERMISSION_DENIED"},
		"no such account":            {"prov", 999, []string{"vms.read"}, "NOT_FOUND"},
	} {
		_, err := authpb.NewTokenServiceClient(w.replicas[0].Conn("auth", tt.caller)).
			ActFor(t.Context(), &authpb.ActForRequest{AccountId: tt.id, Scopes: tt.scopes})
		if reason(err) != tt.want {
			t.Errorf("%s: %v, want %s", name, err, tt.want)
		}
	}
}

// TestRecordsShowBothNames: auth records that prov acts for the account, and the service that it calls does too.
func TestRecordsShowBothNames(t *testing.T) {
	t.Parallel()
	w := build(t, 1)
	id := w.account("seven@example.com")
	users := authpb.NewTokenServiceClient(w.replicas[0].Conn("auth", "prov"))
	r, err := users.ActFor(t.Context(), &authpb.ActForRequest{AccountId: id, Scopes: []string{"vms.read"}})
	if err != nil {
		t.Fatal(err)
	}
	if left := time.Until(r.GetExpiresAt().AsTime()); left > identity.MaxLife {
		t.Errorf("the identity lives %s", left)
	}
	l, err := authpb.NewAuditServiceClient(w.replicas[0].Conn("auth", "gateway")).ListAudit(w.installer(), &authpb.ListAuditRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range l.GetList() {
		if strings.HasSuffix(x.GetAction(), "/ActFor") && x.GetActor() == "seven@example.com (by prov)" && x.GetActorId() == id &&
			x.GetObjectType() == "user" && x.GetAfter() == `{"scopes":["vms.read"]}` {
			return
		}
	}
	t.Errorf("no record with both names among %v", l.GetList())
}

// TestEndsWithTheAccount: after a suspension auth gives no identity, after a deletion neither.
func TestEndsWithTheAccount(t *testing.T) {
	t.Parallel()
	w := build(t, 1)
	id := w.account("seven@example.com")
	users := authpb.NewUserServiceClient(w.replicas[0].Conn("auth", "gateway"))
	ask := func() error {
		_, err := w.actFor(id, "vms.read")
		return err
	}
	if _, err := users.SuspendUser(w.installer(), &authpb.SuspendUserRequest{Id: id}); err != nil {
		t.Fatal(err)
	}
	if err := ask(); reason(err) != "ACCOUNT_SUSPENDED" {
		t.Errorf("a suspended account: %v", err)
	}
	if _, err := users.DeleteUser(w.installer(), &authpb.DeleteUserRequest{Id: id}); err != nil {
		t.Fatal(err)
	}
	if err := ask(); reason(err) != "NOT_FOUND" {
		t.Errorf("a deleted account: %v", err)
	}
}
