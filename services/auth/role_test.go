package auth_test

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	authpb "slipway.dev/proto/auth/v4"
	querypb "slipway.dev/proto/query/v1"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
)

func (w *world) roles() authpb.RoleServiceClient {
	return authpb.NewRoleServiceClient(w.Server().Local("gateway"))
}

// role makes a custom role.
func (w *world) role(t testing.TB, name string, all bool, scopes ...string) int32 {
	t.Helper()
	r, err := w.roles().CreateRole(w.admin(t), &authpb.CreateRoleRequest{Name: name, All: all, Scopes: scopes})
	if err != nil {
		t.Fatal(err)
	}
	return r.GetId()
}

// limited is the context of a credential that is for these scopes alone.
func (w *world) limited(t testing.TB, account int32, roles []string, only ...string) context.Context {
	t.Helper()
	text, err := w.SignForTest(identity.Identity{AccountID: account, Roles: roles, Limited: true, Only: only})
	if err != nil {
		t.Fatal(err)
	}
	return metadata.AppendToOutgoingContext(t.Context(), identity.MetadataKey, text)
}

func TestCustomRole(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	roles, admin := w.roles(), w.admin(t)
	for name, tt := range map[string]struct {
		r      *authpb.CreateRoleRequest
		reason string
		field  string
	}{
		"built-in name": {&authpb.CreateRoleRequest{Name: "@mine", Scopes: []string{"vms.read"}}, "INVALID_ARGUMENT", "name"},
		"no name":       {&authpb.CreateRoleRequest{Scopes: []string{"vms.read"}}, "INVALID_ARGUMENT", "name"},
		"long name":     {&authpb.CreateRoleRequest{Name: strings.Repeat("a", 65), Scopes: []string{"vms.read"}}, "INVALID_ARGUMENT", "name"},
		"line":          {&authpb.CreateRoleRequest{Name: "a\nb", Scopes: []string{"vms.read"}}, "INVALID_ARGUMENT", "name"},
		"no scopes":     {&authpb.CreateRoleRequest{Name: "a"}, "INVALID_ARGUMENT", "scopes"},
		"strange scope": {&authpb.CreateRoleRequest{Name: "a", Scopes: []string{"vms.read", "vms.fly"}}, "INVALID_ARGUMENT", "scopes"},
		"strange many":  {&authpb.CreateRoleRequest{Name: "a", Scopes: []string{"vm.*"}}, "INVALID_ARGUMENT", "scopes"},
		"description":   {&authpb.CreateRoleRequest{Name: "a", Scopes: []string{"*"}, Description: strings.Repeat("a", 1001)}, "INVALID_ARGUMENT", "description"},
	} {
		wantFault(t, name, errOf(roles.CreateRole(admin, tt.r)), tt.reason, tt.field)
	}
	id := w.role(t, "support", true, "vms.read", "*.read", "vms.read")
	wantFault(t, "twice", errOf(roles.CreateRole(admin, &authpb.CreateRoleRequest{Name: "support", Scopes: []string{"*"}})), "CONFLICT", "name")
	account, _ := w.user(t, "support@example.com", "support")
	r, err := roles.GetRole(admin, &authpb.GetRoleRequest{Id: id})
	if err != nil || !slices.Equal(r.GetScopes(), []string{"*.read", "vms.read"}) || !r.GetAll() || r.GetAccountCount() != 1 || r.GetBuiltin() {
		t.Errorf("%v %v", r, err)
	}
	wantFault(t, "delete in use", errOf(roles.DeleteRole(admin, &authpb.DeleteRoleRequest{Id: id})), "ROLE_IN_USE", "")
	list, err := roles.ListRoles(admin, &authpb.ListRolesRequest{})
	if err != nil || list.GetSize() != 5 {
		t.Fatalf("%v %v", list, err)
	}
	for _, r := range list.GetList() {
		if !r.GetBuiltin() {
			continue
		}
		if len(r.GetScopes()) == 0 || !slices.Contains(r.GetScopes(), "vms.read") || slices.Contains(r.GetScopes(), "roles.write") != (r.GetName() == identity.RoleAdmin) {
			t.Errorf("built-in role %v", r)
		}
		wantFault(t, "change "+r.GetName(), errOf(roles.UpdateRole(admin, &authpb.UpdateRoleRequest{Id: r.GetId(), All: proto.Bool(true)})), "ROLE_BUILTIN", "")
		wantFault(t, "delete "+r.GetName(), errOf(roles.DeleteRole(admin, &authpb.DeleteRoleRequest{Id: r.GetId()})), "ROLE_BUILTIN", "")
	}
	one := &querypb.Query{Limit: 1, OrderBy: []*querypb.Order{{Field: "id", Descending: true}}}
	if list, err := roles.ListRoles(admin, &authpb.ListRolesRequest{Query: one}); err != nil || len(list.GetList()) != 1 || list.GetSize() != 5 || list.GetList()[0].GetId() != id {
		t.Errorf("the list language: %v %v", list, err)
	}
	if err := errOf(w.users.UpdateUser(admin, &authpb.UpdateUserRequest{Id: account, Roles: []string{"@user"}})); err != nil {
		t.Fatal(err)
	}
	if err := errOf(roles.DeleteRole(admin, &authpb.DeleteRoleRequest{Id: id})); err != nil {
		t.Error(err)
	}
	wantFault(t, "gone", errOf(roles.GetRole(admin, &authpb.GetRoleRequest{Id: id})), "NOT_FOUND", "")
	wantFault(t, "a role that is gone", errOf(w.users.UpdateUser(admin, &authpb.UpdateUserRequest{Id: account, Roles: []string{"support"}})), "INVALID_ARGUMENT", "roles")
}

// waitFault waits until a call is refused for this reason.
func waitFault(t testing.TB, what string, call func() error, reason string) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 2*time.Minute)
	defer stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := call()
		if f, ok := fault.From(err); ok && f.Reason == reason {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: %v, want %s", what, err, reason)
		}
	}
}

// TestRoleGrants: what roles allow is what the next identity says, all roles together.
func TestRoleGrants(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	reader := w.role(t, "reader", true, "users.read", "vms.*")
	w.role(t, "roler", false, "roles.read")
	id, _ := w.user(t, "user@example.com", "reader")
	if err := errOf(w.users.UpdateUser(w.admin(t), &authpb.UpdateUserRequest{Id: id, Roles: []string{"reader", "roler"}})); err != nil {
		t.Fatal(err)
	}
	token := w.mustLogin(t, "user@example.com", "pw")
	who := w.as(t, token)
	if l, err := w.users.ListUsers(who, &authpb.ListUsersRequest{}); err != nil || l.GetSize() != 2 {
		t.Errorf("users.read: %v %v", l, err)
	}
	if err := errOf(w.roles().ListRoles(who, &authpb.ListRolesRequest{})); err != nil {
		t.Error(err)
	}
	wantFault(t, "roles.write", errOf(w.roles().DeleteRole(who, &authpb.DeleteRoleRequest{Id: reader})), "PERMISSION_DENIED", "")
	wantFault(t, "users.write", errOf(w.users.SuspendUser(who, &authpb.SuspendUserRequest{Id: id})), "PERMISSION_DENIED", "")
	edit := &authpb.UpdateRoleRequest{Id: reader, Scopes: []string{"users.read"}, All: proto.Bool(false)}
	if err := errOf(w.roles().UpdateRole(w.admin(t), edit)); err != nil {
		t.Fatal(err)
	}
	if l, err := w.users.ListUsers(w.as(t, token), &authpb.ListUsersRequest{}); err != nil || l.GetSize() != 1 || l.GetList()[0].GetId() != id {
		t.Errorf("users.read of its own account: %v %v", l, err)
	}
}

// TestRoleEditIsTold: one edit ends what every account that has the role could do before, at this service too.
func TestRoleEditIsTold(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	id := w.role(t, "reader", true, "users.read")
	a, one := w.user(t, "one@example.com", "reader")
	b, two := w.user(t, "two@example.com", "reader")
	_, other := w.user(t, "other@example.com", identity.RoleReadOnlyAdmin)
	events := w.watch(t)
	words := &authpb.UpdateRoleRequest{Id: id, Description: proto.String("other words")}
	if err := errOf(w.roles().UpdateRole(w.admin(t), words)); err != nil {
		t.Fatal(err)
	}
	if n := w.count(t, `SELECT count(*) FROM outbox WHERE subject = 'auth.v4.session.revoked'`); n != 0 {
		t.Error("other words end what accounts may do")
	}
	if err := errOf(w.roles().UpdateRole(w.admin(t), &authpb.UpdateRoleRequest{Id: id, Scopes: []string{"vms.read"}})); err != nil {
		t.Fatal(err)
	}
	told := map[int32]bool{}
	for len(told) < 2 {
		if e := <-events; e.Subject == "auth.v4.session.revoked" {
			var r authpb.SessionRevoked
			if err := e.Decode(&r); err != nil || r.GetRevision() == 0 || r.GetSessionId() != 0 {
				t.Errorf("%v %v", &r, err)
			}
			told[r.GetAccountId()] = true
		}
	}
	if !told[a] || !told[b] {
		t.Errorf("told of %v", told)
	}
	for _, ctx := range []context.Context{one, two} {
		waitFault(t, "an identity from before", func() error { return errOf(w.users.ListUsers(ctx, &authpb.ListUsersRequest{})) }, "UNAUTHENTICATED")
	}
	if err := errOf(w.users.ListUsers(other, &authpb.ListUsersRequest{})); err != nil {
		t.Errorf("somebody else: %v", err)
	}
}

// TestGrantAtMostOwn checks that no caller grants more than it has, or changes an account that may do more.
func TestGrantAtMostOwn(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	w.role(t, "helper", true, "users.*", "roles.*", "sshkeys.*")
	w.role(t, "seer", true, "vms.read")
	w.role(t, "reader", true, "users.read")
	w.user(t, "helper@example.com", "helper")
	if err := errOf(w.users.UpdateUser(w.admin(t), &authpb.UpdateUserRequest{Id: 2, Roles: []string{"helper", "@user"}})); err != nil {
		t.Fatal(err)
	}
	helper := w.as(t, w.mustLogin(t, "helper@example.com", "pw"))
	user, _ := w.user(t, "user@example.com", "")
	seer, _ := w.user(t, "seer@example.com", "seer")
	const admin = 1
	for name, err := range map[string]error{
		"create administrator":  errOf(w.users.CreateUser(helper, &authpb.CreateUserRequest{Email: "x@example.com", Password: "pw", Role: "@admin"})),
		"create reader of all":  errOf(w.users.CreateUser(helper, &authpb.CreateUserRequest{Email: "x@example.com", Password: "pw", Role: "@admin.readonly"})),
		"create seer":           errOf(w.users.CreateUser(helper, &authpb.CreateUserRequest{Email: "x@example.com", Password: "pw", Role: "seer"})),
		"grant administrator":   errOf(w.users.UpdateUser(helper, &authpb.UpdateUserRequest{Id: user, Roles: []string{"@admin"}})),
		"grant itself":          errOf(w.users.UpdateUser(helper, &authpb.UpdateUserRequest{Id: 2, Roles: []string{"helper", "seer"}})),
		"take from above":       errOf(w.users.UpdateUser(helper, &authpb.UpdateUserRequest{Id: seer, Roles: []string{"@user"}})),
		"password of admin":     errOf(w.users.SetUserPassword(helper, &authpb.SetUserPasswordRequest{Id: admin, Password: "x"})),
		"password of seer":      errOf(w.users.SetUserPassword(helper, &authpb.SetUserPasswordRequest{Id: seer, Password: "x"})),
		"key of admin":          errOf(w.keys.CreateKey(helper, &authpb.CreateKeyRequest{User: adminEmail})),
		"suspend admin":         errOf(w.users.SuspendUser(helper, &authpb.SuspendUserRequest{Id: admin})),
		"delete admin":          errOf(w.users.DeleteUser(helper, &authpb.DeleteUserRequest{Id: admin})),
		"SSH key of admin":      errOf(w.users.AddSSHKey(helper, &authpb.AddSSHKeyRequest{Account: adminEmail, Name: "k", SshPubKey: sshKey(t)})),
		"role above":            errOf(w.roles().CreateRole(helper, &authpb.CreateRoleRequest{Name: "x", Scopes: []string{"*"}, All: true})),
		"role above, own":       errOf(w.roles().CreateRole(helper, &authpb.CreateRoleRequest{Name: "x", Scopes: []string{"nodes.read"}})),
		"change a role above":   errOf(w.roles().UpdateRole(helper, &authpb.UpdateRoleRequest{Id: 6, Scopes: []string{"users.read"}})),
		"raise a role":          errOf(w.roles().UpdateRole(helper, &authpb.UpdateRoleRequest{Id: 5, Scopes: []string{"users.*", "roles.*", "settings.write"}})),
		"delete a role above":   errOf(w.roles().DeleteRole(helper, &authpb.DeleteRoleRequest{Id: 6})),
		"limited, create":       errOf(w.users.CreateUser(w.limited(t, admin, []string{"@admin"}, "users.write"), &authpb.CreateUserRequest{Email: "x@example.com", Password: "pw"})),
		"limited, own password": errOf(w.users.SetUserPassword(w.limited(t, admin, []string{"@admin"}, "users.write"), &authpb.SetUserPasswordRequest{Id: admin, Password: "x"})),
		"limited, key":          errOf(w.keys.CreateKey(w.limited(t, admin, []string{"@admin"}, "users.keys"), &authpb.CreateKeyRequest{User: "3"})),
		"limited, role":         errOf(w.roles().CreateRole(w.limited(t, admin, []string{"@admin"}, "roles.write"), &authpb.CreateRoleRequest{Name: "x", Scopes: []string{"vms.read"}})),
		"limited, SSH key":      errOf(w.users.AddSSHKey(w.limited(t, admin, []string{"@admin"}, "sshkeys.write"), &authpb.AddSSHKeyRequest{Account: strconv.Itoa(int(user)), Name: "k", SshPubKey: sshKey(t)})),
	} {
		wantFault(t, name, err, "PERMISSION_DENIED", "")
	}
	for name, err := range map[string]error{
		"create user":       errOf(w.users.CreateUser(helper, &authpb.CreateUserRequest{Email: "new@example.com", Password: "pw"})),
		"grant less":        errOf(w.users.UpdateUser(helper, &authpb.UpdateUserRequest{Id: user, Roles: []string{"reader"}})),
		"password of user":  errOf(w.users.SetUserPassword(helper, &authpb.SetUserPasswordRequest{Id: user, Password: "x"})),
		"key of user":       errOf(w.keys.CreateKey(helper, &authpb.CreateKeyRequest{User: "user@example.com"})),
		"role of less":      errOf(w.roles().CreateRole(helper, &authpb.CreateRoleRequest{Name: "less", Scopes: []string{"users.read"}, All: true})),
		"limited, its part": errOf(w.roles().CreateRole(w.limited(t, admin, []string{"@admin"}, "roles.write", "users.read"), &authpb.CreateRoleRequest{Name: "part", Scopes: []string{"users.read"}})),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestOwnReach: a role that reaches the objects of its own account only finds no other account.
func TestOwnReach(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	w.role(t, "self", false, "users.*")
	id, self := w.user(t, "self@example.com", "self")
	other, _ := w.user(t, "other@example.com", "self")
	wantFault(t, "suspend", errOf(w.users.SuspendUser(self, &authpb.SuspendUserRequest{Id: other})), "NOT_FOUND", "")
	wantFault(t, "suspend nobody", errOf(w.users.SuspendUser(self, &authpb.SuspendUserRequest{Id: 999})), "NOT_FOUND", "")
	wantFault(t, "create", errOf(w.users.CreateUser(self, &authpb.CreateUserRequest{Email: "x@example.com", Password: "pw", Role: "self"})), "PERMISSION_DENIED", "")
	wantFault(t, "key", errOf(w.keys.CreateKey(self, &authpb.CreateKeyRequest{User: "other@example.com"})), "NOT_FOUND", "")
	wantFault(t, "key of nobody", errOf(w.keys.CreateKey(self, &authpb.CreateKeyRequest{User: "none@example.com"})), "NOT_FOUND", "")
	if err := errOf(w.users.SetUserPassword(self, &authpb.SetUserPasswordRequest{Id: id, Password: "new"})); err != nil {
		t.Errorf("its own password: %v", err)
	}
}

func TestScopes(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	_, user := w.user(t, "user@example.com", "")
	l, err := w.roles().ListScopes(user, &authpb.ListScopesRequest{})
	if err != nil || int(l.GetSize()) != len(l.GetList()) {
		t.Fatal(l, err)
	}
	found := map[string]*authpb.Scope{}
	for _, s := range l.GetList() {
		found[s.GetName()] = s
		if len(s.GetRoutes()) == 0 && s.GetName() != "users.sessions" { // which this dialect has no paths for
			t.Errorf("%s is for nothing", s.GetName())
		}
	}
	if s := found["vms.read"]; s.GetAdmin() || !slices.Contains(s.GetRoutes(), "GET /vm/v3/host") {
		t.Errorf("%v", s)
	}
	if s := found["platform.audit.read"]; !s.GetAdmin() || found["self"] != nil {
		t.Errorf("%v", s)
	}
}
