package auth_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
)

// from returns the context of a call for a client that has no identity yet.
func from(ctx context.Context, ip, userAgent string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "slipway-client-ip", ip, "slipway-user-agent", userAgent)
}

// grant logs in for access and refresh tokens.
func (w *world) grant(t testing.TB, email, password string) *authpb.Grant {
	t.Helper()
	g, err := w.sessions.Login(from(t.Context(), "192.0.2.1", "panel"), &authpb.LoginRequest{Email: email, Password: password})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func (w *world) refresh(ctx context.Context, token string) (*authpb.Grant, error) {
	return w.sessions.Refresh(ctx, &authpb.RefreshRequest{RefreshToken: token})
}

// dead demands that a credential is worth nothing.
func (w *world) dead(t testing.TB, what, credential string) {
	t.Helper()
	_, err := w.tokens.Introspect(t.Context(), &authpb.IntrospectRequest{Token: credential})
	wantFault(t, what, err, "UNAUTHENTICATED", "")
}

func TestGrant(t *testing.T) {
	t.Parallel()
	now := time.Now()
	w := start(t, func() time.Time { return now })
	id, _ := w.user(t, "user@example.com", "")
	g := w.grant(t, "User@Example.com ", "pw")
	if g.GetAccountId() != id || !strings.HasPrefix(g.GetRefreshToken(), "slr_") {
		t.Errorf("%v", g)
	}
	if d := g.GetAccessExpiresAt().AsTime().Sub(now); d < 59*time.Minute || d > time.Hour {
		t.Errorf("the access token lives %s", d)
	}
	if d := g.GetRefreshExpiresAt().AsTime().Sub(now); d < 29*24*time.Hour || d > 31*24*time.Hour {
		t.Errorf("the refresh token lives %s", d)
	}
	me, err := w.tokens.Whoami(w.as(t, g.GetAccessToken()), &authpb.WhoamiRequest{})
	if err != nil || me.GetId() != id {
		t.Errorf("%v %v", me, err)
	}
	w.dead(t, "a refresh token as a credential", g.GetRefreshToken())

	now = now.Add(61 * time.Minute)
	w.dead(t, "an access token after its end", g.GetAccessToken())

	for _, r := range []*authpb.LoginRequest{{AccessSeconds: 59}, {AccessSeconds: 86401}, {RefreshSeconds: 1}, {RefreshSeconds: -1}} {
		r.Email, r.Password = "user@example.com", "pw"
		_, err := w.sessions.Login(t.Context(), r)
		wantFault(t, fmt.Sprint(r), err, "INVALID_ARGUMENT", "")
	}
	if n := w.count(t, `SELECT count(*) FROM token t JOIN refresh_token r ON position(r.hash IN t.hash) > 0`); n != 0 {
		t.Error("a refresh token would do as a token")
	}
}

// TestLoginGuesses: the same words and the same limits as by the other paths.
func TestLoginGuesses(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	ctx := from(t.Context(), "192.0.2.1", "")
	try := func(email, password string) error {
		return errOf(w.sessions.Login(ctx, &authpb.LoginRequest{Email: email, Password: password}))
	}
	hashes := w.Hashes()
	wantFault(t, "unknown", try("nobody@example.com", "x"), "INVALID_PASSWORD", "")
	wantFault(t, "wrong", try(adminEmail, "x"), "INVALID_PASSWORD", "")
	if n := w.Hashes() - hashes; n != 2 {
		t.Errorf("%d passwords hashed for two logins", n)
	}
	for i := range 9 {
		if i%2 == 0 {
			_, err := w.login(t, adminEmail, "x", "192.0.2.1")
			wantFault(t, "wrong", err, "INVALID_PASSWORD", "")
		} else {
			wantFault(t, "wrong", try(adminEmail, "x"), "INVALID_PASSWORD", "")
		}
	}
	w.exec(t, `UPDATE login_failure SET last = now() + interval '5 minutes'`) // however long the test takes
	wantFault(t, "guess 11", try(adminEmail, adminPassword), "RATE_LIMITED", "")
	_, err := w.keystone.CreateKeystoneToken(ctx, &authpb.CreateKeystoneTokenRequest{
		Credential: &authpb.CreateKeystoneTokenRequest_Password{Password: &authpb.KeystonePassword{User: adminEmail, Password: adminPassword}},
	})
	wantFault(t, "guess 12, the OpenStack way", err, "RATE_LIMITED", "")
	if n := w.count(t, `SELECT count(*) FROM token`); n != 0 {
		t.Errorf("%d sessions", n)
	}
}

// TestOnlyTheGateway: no other service logs anybody in.
func TestOnlyTheGateway(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	c := authpb.NewSessionServiceClient(w.Server().Local("vm"))
	wantFault(t, "login", errOf(c.Login(t.Context(), &authpb.LoginRequest{})), "PERMISSION_DENIED", "")
	wantFault(t, "refresh", errOf(c.Refresh(t.Context(), &authpb.RefreshRequest{})), "PERMISSION_DENIED", "")
	wantFault(t, "keystone", errOf(authpb.NewKeystoneServiceClient(w.Server().Local("vm")).
		CreateKeystoneToken(t.Context(), &authpb.CreateKeystoneTokenRequest{})), "PERMISSION_DENIED", "")
}

func TestRefresh(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	w.user(t, "user@example.com", "")
	first := w.grant(t, "user@example.com", "pw")
	same := from(t.Context(), "192.0.2.1", "panel")

	second, err := w.refresh(same, first.GetRefreshToken())
	if err != nil {
		t.Fatal(err)
	}
	if second.GetRefreshToken() == first.GetRefreshToken() || second.GetSessionUuid() != first.GetSessionUuid() {
		t.Errorf("%v, then %v", first, second)
	}
	w.as(t, second.GetAccessToken())
	w.as(t, first.GetAccessToken()) // it ends by itself
	again, err := w.refresh(same, first.GetRefreshToken())
	if err != nil || again.GetRefreshToken() != second.GetRefreshToken() {
		t.Errorf("the answer got lost: %v %v", again, err)
	}
	third, err := w.refresh(same, second.GetRefreshToken())
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.refresh(same, first.GetRefreshToken())
	wantFault(t, "the answer did not get lost", err, "REFRESH_TOKEN_USED", "")
	w.as(t, third.GetAccessToken())

	for _, token := range []string{"", "slr_", strings.Repeat("x", 1<<20), first.GetAccessToken(), "slr_" + strings.Repeat("A", 43)} {
		_, err := w.refresh(same, token)
		wantFault(t, "no refresh token", err, "UNAUTHENTICATED", "")
	}
	w.as(t, third.GetAccessToken())
}

// TestStolen checks that a session ends when two clients use one refresh token, whichever came first.
func TestStolen(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	w.user(t, "user@example.com", "")
	for name, thief := range map[string]func(g *authpb.Grant) context.Context{
		"from another address": func(*authpb.Grant) context.Context { return from(t.Context(), "192.0.2.2", "panel") },
		"another program":      func(*authpb.Grant) context.Context { return from(t.Context(), "192.0.2.1", "curl") },
		"later": func(g *authpb.Grant) context.Context {
			w.exec(t, `UPDATE refresh_token r SET used_at = used_at - interval '11 seconds'
				FROM token t WHERE t.id = r.session AND t.uuid = $1::text::uuid`, g.GetSessionUuid())
			return from(t.Context(), "192.0.2.1", "panel")
		},
	} {
		g := w.grant(t, "user@example.com", "pw")
		next, err := w.refresh(from(t.Context(), "192.0.2.1", "panel"), g.GetRefreshToken())
		if err != nil {
			t.Fatal(err)
		}
		_, err = w.refresh(thief(g), g.GetRefreshToken())
		wantFault(t, name, err, "REFRESH_TOKEN_REUSED", "")
		w.dead(t, name, next.GetAccessToken())
		_, err = w.refresh(from(t.Context(), "192.0.2.1", "panel"), next.GetRefreshToken())
		wantFault(t, name+": the newest", err, "UNAUTHENTICATED", "")
	}
	if n := w.count(t, `SELECT count(*) FROM outbox WHERE subject = 'auth.v4.session.revoked'`); n != 3 {
		t.Errorf("%d revocations told, want 3", n)
	}
	if n := w.count(t, `SELECT count(*) FROM refresh_token`); n != 0 {
		t.Errorf("%d refresh tokens of no session", n)
	}
}

// TestParallelRefresh: of 200 uses at the same time there comes one next token.
func TestParallelRefresh(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	w.user(t, "user@example.com", "")
	g := w.grant(t, "user@example.com", "pw")
	type result struct {
		g   *authpb.Grant
		err error
	}
	results := make(chan result)
	for range 200 {
		go func() {
			n, err := w.refresh(from(t.Context(), "192.0.2.1", "panel"), g.GetRefreshToken())
			results <- result{n, err}
		}()
	}
	next := map[string]bool{}
	for range 200 {
		r := <-results
		if r.err != nil {
			t.Error(r.err)
			continue
		}
		next[r.g.GetRefreshToken()] = true
	}
	if len(next) != 1 {
		t.Errorf("%d next tokens", len(next))
	}
	if n := w.count(t, `SELECT count(*) FROM refresh_token WHERE used_at IS NULL`); n != 1 {
		t.Errorf("%d refresh tokens are good", n)
	}
}

// TestSessionsEnd: what changes an account, or ends a session, is felt with the next use of an access token.
func TestSessionsEnd(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	id, _ := w.user(t, "user@example.com", "")
	admin := w.admin(t)
	for _, tt := range []struct {
		name string
		do   func(g *authpb.Grant) error
	}{
		{"logout", func(g *authpb.Grant) error {
			return errOf(w.sessions.Logout(t.Context(), &authpb.LogoutRequest{RefreshToken: g.GetRefreshToken()}))
		}},
		{"killed", func(g *authpb.Grant) error {
			return errOf(w.sessions.KillSession(w.as(t, g.GetAccessToken()), &authpb.KillSessionRequest{Uuid: g.GetSessionUuid()}))
		}},
		{"left", func(g *authpb.Grant) error {
			return errOf(w.tokens.DeleteSelfSession(w.as(t, g.GetAccessToken()), &authpb.DeleteSelfSessionRequest{}))
		}},
		{"other roles", func(*authpb.Grant) error {
			return errOf(w.users.UpdateUser(admin, &authpb.UpdateUserRequest{Id: id, Roles: []string{identity.RoleAdvancedUser}}))
		}},
		{"another password", func(*authpb.Grant) error {
			return errOf(w.users.SetUserPassword(admin, &authpb.SetUserPasswordRequest{Id: id, Password: "pw"}))
		}},
		{"suspended", func(*authpb.Grant) error {
			if err := errOf(w.users.SuspendUser(admin, &authpb.SuspendUserRequest{Id: id})); err != nil {
				return err
			}
			return errOf(w.users.ResumeUser(admin, &authpb.ResumeUserRequest{Id: id}))
		}},
		{"deleted", func(*authpb.Grant) error {
			return errOf(w.users.DeleteUser(admin, &authpb.DeleteUserRequest{Id: id}))
		}},
	} {
		g := w.grant(t, "user@example.com", "pw")
		if err := tt.do(g); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		w.dead(t, tt.name, g.GetAccessToken())
		_, err := w.refresh(from(t.Context(), "192.0.2.1", "panel"), g.GetRefreshToken())
		wantFault(t, tt.name, err, "UNAUTHENTICATED", "")
	}
	for _, token := range []string{"", "x", "slr_" + strings.Repeat("A", 43)} {
		if _, err := w.sessions.Logout(t.Context(), &authpb.LogoutRequest{RefreshToken: token}); err != nil {
			t.Errorf("logout of nothing: %v", err)
		}
	}
}

func TestListSessions(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	id, _ := w.user(t, "user@example.com", "")
	otherID, _ := w.user(t, "other@example.com", "")
	_, reader := w.user(t, "reader@example.com", identity.RoleReadOnlyAdmin)
	w.exec(t, `DELETE FROM token WHERE account_id IN ($1, $2)`, id, otherID)
	g := w.grant(t, "user@example.com", "pw")
	session := w.mustLogin(t, "user@example.com", "pw")
	foreign := w.grant(t, "other@example.com", "pw")
	me := w.as(t, g.GetAccessToken())
	if _, err := w.tokens.CreateToken(me, &authpb.CreateTokenRequest{}); err != nil {
		t.Fatal(err)
	}

	l, err := w.sessions.ListSessions(me, &authpb.ListSessionsRequest{})
	if err != nil || len(l.GetSessions()) != 2 {
		t.Fatalf("%v %v", l, err)
	}
	if s := l.GetSessions()[1]; s.GetUuid() != g.GetSessionUuid() || !s.GetCurrent() || s.GetKind() != "refresh" || s.GetIp() != "192.0.2.1" ||
		s.GetUserAgent() != "panel" || s.GetAuthMethod() != "password" || s.GetEmail() != "user@example.com" || s.GetAccountId() != id ||
		!s.GetExpiresAt().AsTime().Equal(g.GetRefreshExpiresAt().AsTime()) {
		t.Errorf("%v", s)
	}
	if s := l.GetSessions()[0]; s.GetCurrent() || s.GetKind() != "session" {
		t.Errorf("%v", s)
	}
	first, err := w.sessions.ListSessions(me, &authpb.ListSessionsRequest{PageSize: 1})
	if err != nil || len(first.GetSessions()) != 1 || first.GetNextPageToken() == "" {
		t.Fatalf("%v %v", first, err)
	}
	rest, err := w.sessions.ListSessions(me, &authpb.ListSessionsRequest{PageSize: 1, PageToken: first.GetNextPageToken()})
	if err != nil || len(rest.GetSessions()) != 1 || rest.GetNextPageToken() != "" || rest.GetSessions()[0].GetUuid() != g.GetSessionUuid() {
		t.Errorf("%v %v", rest, err)
	}

	// Foreign sessions do not exist, but for those who reach all accounts; and to end them is more than to see them.
	_, err = w.sessions.ListSessions(me, &authpb.ListSessionsRequest{AccountId: otherID})
	wantFault(t, "a foreign account", err, "NOT_FOUND", "")
	kill := func(ctx context.Context, uuid string) error {
		return errOf(w.sessions.KillSession(ctx, &authpb.KillSessionRequest{Uuid: uuid}))
	}
	for _, uuid := range []string{foreign.GetSessionUuid(), "00000000-0000-4000-8000-000000000000", "", "x", "1"} {
		wantFault(t, "kill "+uuid, kill(me, uuid), "NOT_FOUND", "")
	}
	all, err := w.sessions.ListSessions(reader, &authpb.ListSessionsRequest{AccountId: otherID})
	if err != nil || len(all.GetSessions()) != 1 {
		t.Errorf("%v %v", all, err)
	}
	wantFault(t, "a read-only administrator", kill(reader, foreign.GetSessionUuid()), "NOT_FOUND", "")
	if err := kill(w.admin(t), foreign.GetSessionUuid()); err != nil {
		t.Error(err)
	}
	w.dead(t, "killed", foreign.GetAccessToken())
	if err := kill(me, l.GetSessions()[0].GetUuid()); err != nil {
		t.Error(err)
	}
	w.dead(t, "killed", session)
	for _, r := range []*authpb.ListSessionsRequest{{PageSize: -1}, {PageSize: 1001}, {PageToken: "x"}, {PageToken: "-1"}} {
		if f, ok := fault.From(errOf(w.sessions.ListSessions(me, r))); !ok || !f.Is(fault.Invalid) {
			t.Errorf("%v: %v", r, f)
		}
	}
}

// TestDeadSessions: what ended leaves nothing behind.
func TestDeadSessions(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	w.user(t, "user@example.com", "")
	g := w.grant(t, "user@example.com", "pw")
	w.exec(t, `UPDATE token SET expires_at = now() - interval '1 second' WHERE kind = 'refresh'`)
	w.dead(t, "over", g.GetAccessToken())
	_, err := w.refresh(from(t.Context(), "192.0.2.1", "panel"), g.GetRefreshToken())
	wantFault(t, "over", err, "UNAUTHENTICATED", "")
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- w.Run(ctx) }()
	for w.count(t, `SELECT count(*) FROM refresh_token`) > 0 {
		if ctx.Err() != nil {
			t.Fatal("it stays")
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
