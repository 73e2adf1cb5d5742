package auth_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	authpb "slipway.dev/proto/auth/v4"
)

func keystone(user, password string) *authpb.CreateKeystoneTokenRequest {
	return &authpb.CreateKeystoneTokenRequest{Credential: &authpb.CreateKeystoneTokenRequest_Password{
		Password: &authpb.KeystonePassword{User: user, Password: password},
	}}
}

func TestKeystone(t *testing.T) {
	t.Parallel()
	now := time.Now()
	w := start(t, func() time.Time { return now })
	id, _ := w.user(t, "user@example.com", "")
	w.user(t, "other@example.com", "")
	made, err := w.keystone.CreateKeystoneToken(t.Context(), keystone("user@example.com", "pw"))
	if err != nil {
		t.Fatal(err)
	}
	check := func(s *authpb.TokenSubject, method string) {
		t.Helper()
		life := s.GetExpiresAt().AsTime().Sub(s.GetIssuedAt().AsTime())
		if s.GetUser().GetId() != fmt.Sprint(id) || s.GetUser().GetName() != "user@example.com" || fmt.Sprint(s.GetRoles()) != "[member reader]" ||
			life.Round(time.Minute) != time.Hour || fmt.Sprint(s.GetMethods()) != "["+method+"]" || s.GetProject().GetId() != "default" {
			t.Errorf("%v (lives %s)", s, life)
		}
	}
	check(made.GetSubject(), "password")
	own := w.as(t, made.GetToken())
	validate := func(ctx context.Context, subject string) (*authpb.TokenSubject, error) {
		return w.keystone.ValidateToken(ctx, &authpb.ValidateTokenRequest{SubjectToken: subject})
	}
	s, err := validate(own, made.GetToken())
	if err != nil {
		t.Fatal(err)
	}
	check(s, "password")

	foreign, err := w.keystone.CreateKeystoneToken(t.Context(), keystone("other@example.com", "pw"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = validate(own, foreign.GetToken())
	wantFault(t, "a foreign token", err, "PERMISSION_DENIED", "")
	for _, subject := range []string{"", "x", fmt.Sprintf("%d-%064x", id, 1), strings.Repeat(".", 1<<20)} {
		_, err = validate(own, subject)
		wantFault(t, "no token", err, "NOT_FOUND", "")
	}
	_, err = validate(t.Context(), made.GetToken())
	wantFault(t, "nobody asks", err, "UNAUTHENTICATED", "")
	s, err = validate(w.admin(t), made.GetToken())
	if err != nil {
		t.Fatal(err)
	}
	check(s, "password")
	admin, err := w.keystone.CreateKeystoneToken(t.Context(), keystone(adminEmail, adminPassword))
	if err != nil || fmt.Sprint(admin.GetSubject().GetRoles()) != "[admin member reader]" {
		t.Errorf("%v %v", admin, err)
	}

	keyID, key := w.apiKey(t, own, &authpb.CreateAPIKeyRequest{Scopes: []string{"tokens.read"}})
	application := func(id int32, secret string) (*authpb.CreateKeystoneTokenResponse, error) {
		return w.keystone.CreateKeystoneToken(t.Context(), &authpb.CreateKeystoneTokenRequest{
			Credential: &authpb.CreateKeystoneTokenRequest_Application{Application: &authpb.KeystoneApplication{Id: id, Secret: secret}},
		})
	}
	byKey, err := application(keyID, key)
	if err != nil {
		t.Fatal(err)
	}
	check(byKey.GetSubject(), "application_credential")
	if s, err = validate(w.as(t, byKey.GetToken()), byKey.GetToken()); err != nil {
		t.Fatal(err)
	}
	check(s, "application_credential")
	for name, err := range map[string]error{
		"another key's id": errOf(application(keyID+1, key)), "a token": errOf(application(0, made.GetToken())), "nothing": errOf(application(0, "")),
	} {
		wantFault(t, name, err, "UNAUTHENTICATED", "")
	}
	_, err = w.keystone.CreateKeystoneToken(t.Context(), &authpb.CreateKeystoneTokenRequest{})
	wantFault(t, "no credential", err, "INVALID_ARGUMENT", "")

	revoke := func(ctx context.Context, subject string) error {
		return errOf(w.keystone.RevokeToken(ctx, &authpb.RevokeTokenRequest{SubjectToken: subject}))
	}
	wantFault(t, "a foreign token", revoke(own, foreign.GetToken()), "PERMISSION_DENIED", "")
	if err := revoke(w.admin(t), foreign.GetToken()); err != nil {
		t.Error(err)
	}
	w.dead(t, "revoked", foreign.GetToken())
	if err := revoke(own, made.GetToken()); err != nil {
		t.Error(err)
	}
	w.dead(t, "revoked", made.GetToken())
	w.exec(t, `UPDATE token SET expires_at = now() - interval '1 second' WHERE kind = 'keystone'`)
	w.dead(t, "over", byKey.GetToken())
}
