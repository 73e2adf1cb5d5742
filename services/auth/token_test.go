package auth_test

import (
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/grpc/metadata"

	authpb "slipway.dev/proto/auth/v4"
	querypb "slipway.dev/proto/query/v1"

	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/service"
	"slipway.dev/services/auth"
)

// TestLegacyLogin: the same session and the same limits as by the newer path.
func TestLegacyLogin(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	login := func(password string) (*authpb.LegacySession, error) {
		ctx := metadata.AppendToOutgoingContext(t.Context(), "slipway-client-ip", "192.0.2.1")
		return w.tokens.CreateLegacySession(ctx, &authpb.CreateLegacySessionRequest{Email: adminEmail, Password: password})
	}
	s, err := login(adminPassword)
	if err != nil || s.GetId() != 1 || s.GetSession() != s.GetToken() || !s.GetConfirmed() || s.GetExpiresAt() != nil {
		t.Fatalf("%v %v", s, err)
	}
	w.as(t, s.GetToken())
	for i := range 10 {
		if i%2 == 0 {
			_, err = login("wrong")
		} else {
			_, err = w.login(t, adminEmail, "wrong", "192.0.2.1")
		}
		wantFault(t, fmt.Sprintf("guess %d", i), err, "INVALID_PASSWORD", "")
	}
	_, err = login(adminPassword)
	wantFault(t, "guess 11", err, "RATE_LIMITED", "")
}

func TestSessions(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	id, _ := w.user(t, "user@example.com", "")
	_, other := w.user(t, "other@example.com", "")
	w.exec(t, `DELETE FROM token`)
	value := w.mustLogin(t, "user@example.com", "pw")
	user := w.as(t, value)
	if _, err := w.tokens.CreateToken(user, &authpb.CreateTokenRequest{Description: "ci"}); err != nil {
		t.Fatal(err)
	}
	w.exec(t, `INSERT INTO token (account_id, hash, sliding, last_used) VALUES ($1, sha256('old'), true, now() - interval '2 hours')`, id)

	l, err := w.tokens.ListTokens(user, &authpb.ListTokensRequest{})
	if err != nil || l.GetSize() != 2 || len(l.GetList()) != 2 {
		t.Fatalf("%v %v", l, err)
	}
	session, token := l.GetList()[0], l.GetList()[1]
	if session.GetKind() != "session" || session.GetExpiresAt() != nil || session.GetAccountId() != id || len(session.GetLastUsed()) != 19 ||
		token.GetKind() != "token" || token.GetDescription() != "ci" || len(token.GetCreated()) != 19 {
		t.Errorf("%v", l)
	}
	if strings.Contains(fmt.Sprint(l), strings.TrimPrefix(value, strconv.Itoa(int(id))+"-")) {
		t.Error("a list shows the value of a token")
	}
	filtered, err := w.tokens.ListTokens(user, &authpb.ListTokensRequest{Query: &querypb.Query{
		Where: compare("kind", querypb.Operator_OPERATOR_EQ, "token"), OrderBy: []*querypb.Order{{Field: "created"}},
	}})
	if err != nil || filtered.GetSize() != 1 || filtered.GetList()[0].GetId() != token.GetId() {
		t.Errorf("%v %v", filtered, err)
	}
	self, err := w.tokens.GetSelfSession(user, &authpb.GetSelfSessionRequest{})
	if err != nil || self.GetId() != session.GetId() {
		t.Errorf("%v %v", self, err)
	}

	// Neither the id nor the value of a foreign token is any use, but to administrators.
	for _, name := range []string{fmt.Sprint(token.GetId()), value, "0", "-1", "99999999999"} {
		_, err := w.tokens.DeleteToken(other, &authpb.DeleteTokenRequest{Token: name})
		wantFault(t, "delete "+name, err, "NOT_FOUND", "")
	}
	_, reader := w.user(t, "reader@example.com", identity.RoleReadOnlyAdmin)
	_, err = w.tokens.DeleteToken(reader, &authpb.DeleteTokenRequest{Token: fmt.Sprint(token.GetId())})
	wantFault(t, "a read-only administrator", err, "NOT_FOUND", "")
	if _, err := w.tokens.DeleteToken(w.admin(t), &authpb.DeleteTokenRequest{Token: fmt.Sprint(token.GetId())}); err != nil {
		t.Error(err)
	}

	// Logged out: the token is unknown, and what was signed for it makes no new ones.
	if _, err := w.tokens.DeleteSelfSession(user, &authpb.DeleteSelfSessionRequest{}); err != nil {
		t.Fatal(err)
	}
	_, err = w.tokens.Introspect(t.Context(), &authpb.IntrospectRequest{Token: value})
	wantFault(t, "logged out", err, "UNAUTHENTICATED", "")
	_, err = w.tokens.CreateToken(user, &authpb.CreateTokenRequest{})
	wantFault(t, "a token after the end", err, "UNAUTHENTICATED", "")
	_, err = w.tokens.GetSelfSession(user, &authpb.GetSelfSessionRequest{})
	wantFault(t, "the session after the end", err, "NOT_FOUND", "")
	_, err = w.tokens.DeleteSelfSession(user, &authpb.DeleteSelfSessionRequest{})
	wantFault(t, "logged out twice", err, "NOT_FOUND", "")
}

// TestSettings: a setting counts for sessions that exist, in every process, at once.
func TestSettings(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	_, user := w.user(t, "user@example.com", "")
	_, reader := w.user(t, "reader@example.com", identity.RoleReadOnlyAdmin)
	second, err := auth.New(t.Context(), auth.Config{MasterKey: masterKey}, service.Deps{Pool: w.pool, Bus: w.bus, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	replica := authpb.NewTokenServiceClient(second.Server().Local("gateway"))
	token := w.mustLogin(t, adminEmail, adminPassword)
	set := func(value string) (*authpb.Setting, error) {
		return w.set.UpdateSetting(w.admin(t), &authpb.UpdateSettingRequest{Name: "token_ttl", Value: value})
	}
	get := func(want string) {
		t.Helper()
		s, err := w.set.GetSetting(reader, &authpb.GetSettingRequest{Name: "token_ttl"})
		if err != nil || s.GetName() != "token_ttl" || s.GetValue() != want {
			t.Errorf("%v %v, want %s", s, err, want)
		}
	}
	get("60")
	w.exec(t, `UPDATE token SET last_used = now() - interval '90 minutes'`)
	_, err = replica.Introspect(t.Context(), &authpb.IntrospectRequest{Token: token})
	wantFault(t, "before", err, "UNAUTHENTICATED", "")
	if s, err := set(" 0999 "); err != nil || s.GetValue() != "999" {
		t.Fatalf("%v %v", s, err)
	}
	get("999")
	if _, err := replica.Introspect(t.Context(), &authpb.IntrospectRequest{Token: token}); err != nil {
		t.Errorf("the second process: %v", err)
	}
	w.exec(t, `UPDATE token SET last_used = now() - interval '61 seconds'`)
	if _, err := set("1"); err != nil {
		t.Fatal(err)
	}
	_, err = replica.Introspect(t.Context(), &authpb.IntrospectRequest{Token: token})
	wantFault(t, "a shorter life", err, "UNAUTHENTICATED", "")
	if _, err := set("525600"); err != nil {
		t.Fatal(err)
	}
	for _, value := range []string{"", "0", "-5", "525601", "60m", "1.5", "99999999999999999999"} {
		_, err := set(value)
		wantFault(t, "value "+value, err, "INVALID_ARGUMENT", "value")
	}
	get("525600")
	for _, ctx := range []struct {
		who string
		err error
	}{
		{"a user reads", errOf(w.set.GetSetting(user, &authpb.GetSettingRequest{Name: "token_ttl"}))},
		{"a user sets", errOf(w.set.UpdateSetting(user, &authpb.UpdateSettingRequest{Name: "token_ttl", Value: "1"}))},
		{"a reader sets", errOf(w.set.UpdateSetting(reader, &authpb.UpdateSettingRequest{Name: "token_ttl", Value: "1"}))},
	} {
		wantFault(t, ctx.who, ctx.err, "PERMISSION_DENIED", "")
	}
	_, err = w.set.UpdateSetting(w.admin(t), &authpb.UpdateSettingRequest{Name: "password", Value: "1"})
	wantFault(t, "unknown", err, "NOT_FOUND", "")
	_, err = w.set.GetSetting(w.admin(t), &authpb.GetSettingRequest{Name: "password"})
	wantFault(t, "unknown", err, "NOT_FOUND", "")
}

func errOf[T any](_ T, err error) error { return err }
