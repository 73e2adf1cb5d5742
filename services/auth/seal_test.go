package auth_test

import (
	"log/slog"
	"strings"
	"testing"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/service"
	"slipway.dev/services/auth"
)

// TestSecretsAtRest: no table shows a secret in plain, and none is lost when the master key is replaced.
func TestSecretsAtRest(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	_, user := w.user(t, "user@example.com", "")
	offer, err := w.factors().CreateTOTP(user, &authpb.CreateTOTPRequest{Password: "pw"})
	if err != nil {
		t.Fatal(err)
	}
	sealed := func() (text string) {
		if err := w.pool.QueryRow(t.Context(), `
			SELECT (SELECT string_agg(t::text || encode(secret, 'escape'), ' ') FROM totp t)
			    || (SELECT string_agg(k::text, ' ') FROM signing_key k)`).Scan(&text); err != nil {
			t.Fatal(err)
		}
		return text
	}
	before := sealed()
	if strings.Contains(before, offer.GetSecret()) {
		t.Error("the database shows the secret of a second factor")
	}
	again := func(masterKey string) error {
		_, err := auth.New(t.Context(), auth.Config{MasterKey: masterKey}, service.Deps{Pool: w.pool, Bus: w.bus, Log: slog.New(slog.DiscardHandler)})
		return err
	}
	fresh := auth.NewMasterKey()
	if err := again(fresh); err == nil || !strings.Contains(err.Error(), "master key") {
		t.Errorf("the wrong master key: %v", err)
	}
	if sealed() != before {
		t.Error("the wrong master key changed something")
	}
	for _, keys := range []string{masterKey + "," + fresh, fresh + "\n" + masterKey, fresh} {
		if err := again(keys); err != nil {
			t.Error(err)
		}
	}
	if err := again(masterKey); err == nil {
		t.Error("something is still sealed with the old key alone")
	}
}
