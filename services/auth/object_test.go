package auth_test

import (
	"strconv"
	"strings"
	"testing"

	authpb "slipway.dev/proto/auth/v4"
)

// TestRecordsNameCredentials: the record of a change of a credential names it by its id, and never by its value.
func TestRecordsNameCredentials(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	admin := w.admin(t)
	made, err := w.tokens.CreateToken(admin, &authpb.CreateTokenRequest{Description: "x"})
	if err != nil {
		t.Fatal(err)
	}
	token := strconv.Itoa(w.count(t, `SELECT id FROM token WHERE description = 'x'`))
	if _, err := w.tokens.DeleteToken(admin, &authpb.DeleteTokenRequest{Token: made.GetToken()}); err != nil {
		t.Fatal(err)
	}
	key, _ := w.apiKey(t, admin, &authpb.CreateAPIKeyRequest{Name: "k"})
	w.user(t, "user@example.com", "")
	grant := w.grant(t, "user@example.com", "pw")
	if _, err := w.sessions.Logout(t.Context(), &authpb.LogoutRequest{RefreshToken: grant.GetRefreshToken()}); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, r := range w.records(t, nil) {
		_, method, _ := strings.Cut(r.GetAction(), "/")
		got[method] = strings.TrimSpace(r.GetObjectType() + " " + r.GetObjectId())
		if r.GetResult() == "ok" && r.GetObjectId() == "" {
			t.Errorf("the record of %s names no object", method)
		}
	}
	for method, want := range map[string]string{
		"CreateToken": "token " + token, "DeleteToken": "token " + token, "CreateAPIKey": "apikey " + strconv.Itoa(int(key)),
		"Logout": "session " + grant.GetSessionUuid(),
	} {
		if got[method] != want {
			t.Errorf("%s: %q, want %q", method, got[method], want)
		}
	}
}
