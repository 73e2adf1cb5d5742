package auth_test

import (
	"context"
	"slices"
	"sync"
	"testing"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/bus"
	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
)

// act is one way to change an account.
type act struct {
	name string
	do   func(ctx context.Context, id int32) error
	// session and token of the account go on after it.
	session, token bool
	events         []string
}

// acts are in an order in which one account can take all of them.
func (w *world) acts() []act {
	const updated, revoked, deleted = "auth.v4.user.updated", "auth.v4.session.revoked", "auth.v4.user.deleted"
	return []act{
		{"roles", func(ctx context.Context, id int32) error {
			return errOf(w.users.UpdateUser(ctx, &authpb.UpdateUserRequest{Id: id, Roles: []string{identity.RoleAdvancedUser}}))
		}, false, true, []string{updated, revoked}},
		{"suspend", func(ctx context.Context, id int32) error {
			return errOf(w.users.SuspendUser(ctx, &authpb.SuspendUserRequest{Id: id}))
		}, false, false, []string{updated, revoked}},
		{"resume", func(ctx context.Context, id int32) error {
			return errOf(w.users.ResumeUser(ctx, &authpb.ResumeUserRequest{Id: id}))
		}, false, true, []string{updated}},
		{"password", func(ctx context.Context, id int32) error {
			return errOf(w.users.SetUserPassword(ctx, &authpb.SetUserPasswordRequest{Id: id, Password: "other"}))
		}, false, false, []string{updated, revoked}},
		{"delete", func(ctx context.Context, id int32) error {
			return errOf(w.users.DeleteUser(ctx, &authpb.DeleteUserRequest{Id: id}))
		}, false, false, []string{revoked, deleted}},
	}
}

// watch runs the service and returns the events that it emits from now on.
func (w *world) watch(t *testing.T) <-chan bus.Event {
	t.Helper()
	events, ready := make(chan bus.Event, 100), make(chan struct{})
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := w.bus.Watch(ctx, []string{"auth.>"}, func(e bus.Event) { events <- e }, func() { close(ready) }); err != nil {
			t.Error(err)
		}
	})
	<-ready
	wg.Go(func() {
		if err := w.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { stop(); wg.Wait() })
	return events
}

// TestChanges checks what each change leaves of an account's sessions and tokens, and which events it emits.
func TestChanges(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	events := w.watch(t)
	id, user := w.user(t, "user@example.com", "")
	_, other := w.user(t, "other@example.com", "")
	_, reader := w.user(t, "reader@example.com", identity.RoleReadOnlyAdmin)
	for range 4 {
		<-events // the accounts were made
	}
	alive := func(token string) bool {
		_, err := w.tokens.Introspect(t.Context(), &authpb.IntrospectRequest{Token: token})
		return err == nil
	}
	session := w.mustLogin(t, "user@example.com", "pw")
	token, err := w.tokens.CreateToken(user, &authpb.CreateTokenRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range w.acts() {
		for _, ctx := range []context.Context{other, reader} {
			wantFault(t, a.name, a.do(ctx, id), "PERMISSION_DENIED", "")
		}
		wantFault(t, a.name+" of nobody", a.do(w.admin(t), 999), "NOT_FOUND", "")
		if err := a.do(w.admin(t), id); err != nil {
			t.Fatalf("%s: %v", a.name, err)
		}
		if s, tok := alive(session), alive(token.GetToken()); s != a.session || tok != a.token {
			t.Errorf("%s: session %v, token %v", a.name, s, tok)
		}
		for _, subject := range a.events {
			e := <-events
			var r authpb.SessionRevoked
			all := e.Subject != "auth.v4.session.revoked" || e.Decode(&r) == nil && r.GetAccountId() == id && r.GetSessionId() == 0
			if e.Subject != subject || !all {
				t.Errorf("%s: event %s %v, want %s", a.name, e.Subject, &r, subject)
			}
		}
	}
	if n := w.count(t, `SELECT count(*) FROM token WHERE account_id = $1`, id); n != 0 {
		t.Errorf("%d tokens of nobody", n)
	}
}

func TestPassword(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	id, _ := w.user(t, "user@example.com", "")
	set := func(password string) error {
		return errOf(w.users.SetUserPassword(w.admin(t), &authpb.SetUserPasswordRequest{Id: id, Password: password}))
	}
	wantFault(t, "none", set(""), "INVALID_ARGUMENT", "password")
	if err := set("other"); err != nil {
		t.Fatal(err)
	}
	w.mustLogin(t, "user@example.com", "other")
	_, err := w.login(t, "user@example.com", "pw", "")
	wantFault(t, "the old password", err, "INVALID_PASSWORD", "")
}

func TestRoles(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	id, _ := w.user(t, "user@example.com", "")
	set := func(ctx context.Context, roles ...string) error {
		return errOf(w.users.UpdateUser(ctx, &authpb.UpdateUserRequest{Id: id, Roles: roles}))
	}
	for name, roles := range map[string][]string{
		"none": nil, "unknown": {"@root"}, "empty": {""}, "many": slices.Repeat([]string{"@user"}, 11),
	} {
		wantFault(t, name, set(w.admin(t), roles...), "INVALID_ARGUMENT", "roles")
	}
	session := w.mustLogin(t, "user@example.com", "pw")
	if err := set(w.admin(t), identity.RoleUser, identity.RoleUser); err != nil {
		t.Fatal(err)
	}
	w.as(t, session) // the roles are the same: no session ends
	if err := set(w.admin(t), identity.RoleAdmin, identity.RoleUser); err != nil {
		t.Fatal(err)
	}
	second := w.as(t, w.mustLogin(t, "user@example.com", "pw"))
	u, err := w.vm.GetUser(t.Context(), &authpb.GetUserRequest{Id: id})
	if err != nil || !slices.Equal(u.GetRoles(), []string{identity.RoleAdmin, identity.RoleUser}) {
		t.Errorf("%v %v", u, err)
	}
	if err := set(w.admin(t), identity.RoleUser); err != nil {
		t.Fatal(err)
	}
	// What was signed while the account was an administrator is worth nothing, also before the revocation is heard of.
	wantFault(t, "grants itself", set(second, identity.RoleAdmin), "UNAUTHENTICATED", "")
	if err := errOf(w.users.SuspendUser(w.admin(t), &authpb.SuspendUserRequest{Id: id})); err != nil {
		t.Fatal(err)
	}
	wantFault(t, "suspended", set(second, identity.RoleAdmin), "UNAUTHENTICATED", "")
}

// TestLastAdmin: administrators who end each other at the same time leave one.
func TestLastAdmin(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	alone := w.as(t, w.mustLogin(t, adminEmail, adminPassword))
	for _, a := range w.acts() {
		if a.name == "resume" || a.name == "password" {
			continue
		}
		wantFault(t, a.name, a.do(alone, 1), "LAST_ADMIN", "")
	}
	ids := []int32{1}
	ctxs := []context.Context{alone}
	for _, email := range []string{"b@example.com", "c@example.com", "d@example.com"} {
		id, ctx := w.user(t, email, identity.RoleAdmin)
		ids, ctxs = append(ids, id), append(ctxs, ctx)
	}
	var wg sync.WaitGroup
	for i, ctx := range ctxs {
		for j, a := range []act{w.acts()[0], w.acts()[1], w.acts()[4]} {
			wg.Go(func() {
				err := a.do(ctx, ids[(i+j)%len(ids)])
				if f, ok := fault.From(err); err != nil && (!ok || !slices.Contains(
					[]string{"LAST_ADMIN", "PERMISSION_DENIED", "UNAUTHENTICATED", "NOT_FOUND"}, f.Reason)) {
					t.Errorf("%s: %v", a.name, err)
				}
			})
		}
	}
	wg.Wait()
	if n := w.count(t, `SELECT count(*) FROM user_account WHERE state = 'active' AND '@admin' = ANY(roles)`); n < 1 {
		t.Errorf("%d administrators are left", n)
	}
}

// TestLoginRacesPassword: no session that the old password opened outlives the change of the password.
func TestLoginRacesPassword(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	id, _ := w.user(t, "user@example.com", "")
	var wg sync.WaitGroup
	var mu sync.Mutex
	var tokens []string
	for range 6 {
		wg.Go(func() {
			if tok, err := w.login(t, "user@example.com", "pw", ""); err == nil {
				mu.Lock()
				defer mu.Unlock()
				tokens = append(tokens, tok.GetToken())
			}
		})
	}
	if err := errOf(w.users.SetUserPassword(w.admin(t), &authpb.SetUserPasswordRequest{Id: id, Password: "other"})); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	for _, token := range tokens {
		if _, err := w.tokens.Introspect(t.Context(), &authpb.IntrospectRequest{Token: token}); err == nil {
			t.Error("a session of the old password is alive")
		}
	}
}
