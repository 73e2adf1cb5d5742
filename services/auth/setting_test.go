package auth_test

import (
	"fmt"
	"testing"
	"time"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/fault"
)

// TestEachSetting: a setting that was changed in one process counts at once in another.
func TestEachSetting(t *testing.T) {
	t.Parallel()
	first := start(t, nil)
	w := startOn(t, first.pool, first.bus, nil)
	admin := w.admin(t)
	set := func(name, value string) {
		t.Helper()
		if s, err := first.set.UpdateSetting(admin, &authpb.UpdateSettingRequest{Name: name, Value: value}); err != nil || s.GetValue() != value {
			t.Fatalf("%s: %v %v", name, s, err)
		}
	}

	set("password_min_length", "8")
	_, err := w.users.CreateUser(admin, &authpb.CreateUserRequest{Email: "user@example.com", Password: "äöüÄÖÜß"})
	wantFault(t, "a new account", err, "INVALID_ARGUMENT", "password")
	_, err = w.users.SetUserPassword(admin, &authpb.SetUserPasswordRequest{Id: 1, Password: "1234567"})
	wantFault(t, "a new password", err, "INVALID_ARGUMENT", "password")
	set("password_min_length", "2")
	w.user(t, "user@example.com", "")
	set("password_min_length", "128")
	session := w.mustLogin(t, "user@example.com", "pw") // only new passwords are measured

	w.exec(t, `UPDATE token SET created_at = now() - interval '10 minutes'`)
	set("session_max_age", "11")
	if r, err := w.tokens.Introspect(t.Context(), &authpb.IntrospectRequest{Token: session}); err != nil || time.Until(r.GetExpiresAt().AsTime()) > 61*time.Second {
		t.Errorf("%v %v", r, err)
	}
	if s, err := w.tokens.GetSelfSession(w.as(t, session), &authpb.GetSelfSessionRequest{}); err != nil {
		t.Error(err)
	} else if end, err := time.Parse(time.DateTime, s.GetValidUntil().GetValue()); err != nil || time.Until(end) > time.Minute+time.Second {
		t.Errorf("valid until %v %v", s.GetValidUntil(), err)
	}
	set("session_max_age", "9")
	_, err = w.tokens.Introspect(t.Context(), &authpb.IntrospectRequest{Token: session})
	wantFault(t, "a session that is too old", err, "UNAUTHENTICATED", "")
	set("session_max_age", "0")
	w.as(t, session)

	set("key_ttl", "5")
	w.key(t, "user@example.com")
	if n := w.count(t, `SELECT count(*) FROM login_key WHERE expires_at BETWEEN now() + interval '4 minutes' AND now() + interval '5 minutes'`); n != 1 {
		t.Error("key_ttl does not count")
	}

	set("login_attempts_account", "1")
	set("login_window", "3")
	_, err = w.login(t, "user@example.com", "wrong", "192.0.2.1")
	wantFault(t, "guess 1", err, "INVALID_PASSWORD", "")
	_, err = w.login(t, "user@example.com", "wrong", "192.0.2.1")
	wantFault(t, "guess 2", err, "RATE_LIMITED", "")
	if f, _ := fault.From(err); f.RetryAfter < 2*time.Minute || f.RetryAfter > 3*time.Minute {
		t.Errorf("come again in %s", f.RetryAfter)
	}
	w.exec(t, `UPDATE login_failure SET since = since - interval '3 minutes'`)
	w.mustLogin(t, "user@example.com", "pw")
	set("login_attempts_address", "2")
	for i := range 3 {
		_, err = w.login(t, fmt.Sprintf("u%d@example.com", i), "wrong", "192.0.2.2")
		wantFault(t, "guess of one address", err, []string{"INVALID_PASSWORD", "INVALID_PASSWORD", "RATE_LIMITED"}[i], "")
	}
}

func TestListSettings(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	if _, err := w.set.UpdateSetting(w.admin(t), &authpb.UpdateSettingRequest{Name: "key_ttl", Value: " 7 "}); err != nil {
		t.Fatal(err)
	}
	l, err := w.set.ListSettings(w.admin(t), &authpb.ListSettingsRequest{})
	if err != nil || int(l.GetSize()) != len(l.GetList()) || l.GetSize() != 8 {
		t.Fatalf("%v %v", l, err)
	}
	got := map[string]string{}
	for _, s := range l.GetList() {
		got[s.GetName()] = s.GetValue() + " of " + s.GetDefaultValue()
		for value, good := range map[string]bool{
			fmt.Sprint(s.GetMin()): true, fmt.Sprint(s.GetMax()): true, fmt.Sprint(s.GetMin() - 1): false, fmt.Sprint(s.GetMax() + 1): false,
			"": false, "1e1": false, "0x1": false, "ten": false, "99999999999999999999": false,
		} {
			_, err := w.set.UpdateSetting(w.admin(t), &authpb.UpdateSettingRequest{Name: s.GetName(), Value: value})
			if good != (err == nil) {
				t.Errorf("%s of %q: %v", s.GetName(), value, err)
			}
			if err != nil {
				wantFault(t, s.GetName(), err, "INVALID_ARGUMENT", "value")
			}
		}
	}
	for name, want := range map[string]string{
		"token_ttl": "60 of 60", "session_max_age": "0 of 0", "key_ttl": "7 of 60", "login_attempts_account": "10 of 10",
		"login_attempts_address": "100 of 100", "login_window": "15 of 15", "password_min_length": "1 of 1",
		"delete_gives_hosts": "1 of 1",
	} {
		if got[name] != want {
			t.Errorf("%s is %s, want %s", name, got[name], want)
		}
	}
}
