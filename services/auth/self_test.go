package auth_test

import (
	"testing"
	"time"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/fault"
)

func TestSetSelfPassword(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	self := authpb.NewSelfServiceClient(w.Server().Local("gateway"))
	id, _ := w.user(t, "user@example.com", "")
	asking, other := w.mustLogin(t, "user@example.com", "pw"), w.mustLogin(t, "user@example.com", "pw")
	token, err := w.tokens.CreateToken(w.as(t, other), &authpb.CreateTokenRequest{})
	if err != nil {
		t.Fatal(err)
	}
	key := w.key(t, "user@example.com")
	user := w.as(t, asking)
	events := w.watch(t)

	for field, r := range map[string]*authpb.SetSelfPasswordRequest{
		"old_password": {Password: "new"}, "password": {OldPassword: "pw"},
	} {
		_, err := self.SetSelfPassword(user, r)
		wantFault(t, "nothing in "+field, err, "INVALID_ARGUMENT", field)
	}
	_, err = self.SetSelfPassword(user, &authpb.SetSelfPasswordRequest{OldPassword: "wrong", Password: "new"})
	wantFault(t, "a wrong old password", err, "INVALID_PASSWORD", "")
	r, err := self.SetSelfPassword(user, &authpb.SetSelfPasswordRequest{OldPassword: "pw", Password: "new"})
	if err != nil || r.GetId() != id {
		t.Fatalf("%v %v", r, err)
	}
	for {
		e := <-events
		var gone authpb.SessionRevoked
		if e.Subject == "auth.v4.session.revoked" && e.Decode(&gone) == nil && gone.GetAccountId() == id && gone.GetSessionId() != 0 { // each by itself: the one that asked goes on
			break
		}
	}
	w.as(t, asking)
	for what, credential := range map[string]string{"another session": other, "a token": token.GetToken()} {
		_, err := w.tokens.Introspect(t.Context(), &authpb.IntrospectRequest{Token: credential})
		wantFault(t, what, err, "UNAUTHENTICATED", "")
	}
	_, err = w.redeem(t, key)
	wantFault(t, "a one-time key", err, "INVALID_KEY", "")
	_, err = w.login(t, "user@example.com", "pw", "")
	wantFault(t, "the old password", err, "INVALID_PASSWORD", "")
	w.mustLogin(t, "user@example.com", "new")

	for range 10 {
		_, err = self.SetSelfPassword(user, &authpb.SetSelfPasswordRequest{OldPassword: "wrong", Password: "x"})
		wantFault(t, "guess", err, "INVALID_PASSWORD", "")
	}
	_, err = self.SetSelfPassword(user, &authpb.SetSelfPasswordRequest{OldPassword: "new", Password: "x"})
	wantFault(t, "guess 11", err, "RATE_LIMITED", "")
	if f, _ := fault.From(err); f.RetryAfter <= 0 || f.RetryAfter > 15*time.Minute {
		t.Errorf("come again in %s", f.RetryAfter)
	}
}
