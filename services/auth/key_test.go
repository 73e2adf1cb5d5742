package auth_test

import (
	"context"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/status"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
)

func (w *world) key(t testing.TB, user string) string {
	t.Helper()
	r, err := w.keys.CreateKey(w.admin(t), &authpb.CreateKeyRequest{User: user})
	if err != nil {
		t.Fatal(err)
	}
	return r.GetKey()
}

func (w *world) redeem(t testing.TB, key string) (*authpb.RedeemKeyResponse, error) {
	t.Helper()
	return w.keys.RedeemKey(t.Context(), &authpb.RedeemKeyRequest{Key: key})
}

func TestKey(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	id, user := w.user(t, "user@example.com", "")
	_, reader := w.user(t, "reader@example.com", identity.RoleReadOnlyAdmin)
	for _, name := range []string{strconv.Itoa(int(id)), "User@example.com"} {
		r, err := w.keys.CreateKey(w.admin(t), &authpb.CreateKeyRequest{User: name})
		if err != nil || r.GetId() != strconv.Itoa(int(id)) || !regexp.MustCompile(`^`+r.GetId()+`-[0-9a-f]{64}$`).MatchString(r.GetKey()) {
			t.Fatalf("%s: %v %v", name, r, err)
		}
		if n := w.count(t, `SELECT count(*) FROM login_key WHERE encode(hash, 'escape') LIKE '%' || $1 || '%'`, r.GetKey()); n != 0 {
			t.Error("the key itself is stored")
		}
		if _, err := w.tokens.Introspect(t.Context(), &authpb.IntrospectRequest{Token: r.GetKey()}); err == nil {
			t.Error("a key is no token")
		}
		s, err := w.redeem(t, r.GetKey())
		if err != nil || s.GetId() != r.GetId() || s.GetToken() == r.GetKey() || s.GetExpiresAt() != nil || !s.GetConfirmed() {
			t.Fatalf("%s: %v %v", name, s, err)
		}
		me, err := w.tokens.Whoami(w.as(t, s.GetToken()), &authpb.WhoamiRequest{})
		if err != nil || me.GetId() != id {
			t.Errorf("%v %v", me, err)
		}
		_, err = w.redeem(t, r.GetKey())
		wantFault(t, "twice", err, "INVALID_KEY", "")
	}
	legacy, err := w.keys.RedeemLegacyKey(t.Context(), &authpb.RedeemLegacyKeyRequest{Key: w.key(t, "user@example.com")})
	if err != nil || legacy.GetId() != id || legacy.GetSession() != legacy.GetToken() {
		t.Fatalf("%v %v", legacy, err)
	}
	w.as(t, legacy.GetSession())

	_, err = w.keys.CreateKey(user, &authpb.CreateKeyRequest{User: "1"})
	wantFault(t, "a user makes a key", err, "PERMISSION_DENIED", "")
	_, err = w.keys.CreateKey(reader, &authpb.CreateKeyRequest{User: "1"})
	wantFault(t, "a read-only administrator makes a key", err, "PERMISSION_DENIED", "")
	for _, name := range []string{"999", "-1", "nobody@example.com", "", "99999999999", "1 OR 1=1"} {
		_, err = w.keys.CreateKey(w.admin(t), &authpb.CreateKeyRequest{User: name})
		wantFault(t, "a key for "+name, err, "NOT_FOUND", "")
	}
}

// TestKeyOnce: however many redeem a key at the same time, one of them gets a session.
func TestKeyOnce(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	key := w.key(t, "1")
	var wg sync.WaitGroup
	var mu sync.Mutex
	reasons := map[string]int{}
	for range 200 {
		wg.Go(func() {
			_, err := w.redeem(t, key)
			reason := ""
			if f, ok := fault.From(err); ok {
				reason = f.Reason
			}
			mu.Lock()
			defer mu.Unlock()
			reasons[reason]++
		})
	}
	wg.Wait()
	if reasons[""] != 1 || reasons["INVALID_KEY"] != 199 {
		t.Errorf("%v", reasons)
	}
	if n := w.count(t, `SELECT count(*) FROM token`); n != 1 {
		t.Errorf("%d sessions", n)
	}
}

// TestKeyRefused: all that refuses a key does so in the same words.
func TestKeyRefused(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	id, _ := w.user(t, "user@example.com", "")
	answers := map[string]bool{}
	refused := func(what, key string) {
		t.Helper()
		_, err := w.redeem(t, key)
		wantFault(t, what, err, "INVALID_KEY", "")
		answers[status.Convert(err).Message()] = true
	}
	refused("empty", "")
	refused("nonsense", strings.Repeat("x", 1<<16))
	refused("unknown", "1-"+strings.Repeat("0", 64))
	refused("a token", w.mustLogin(t, "user@example.com", "pw"))

	key := w.key(t, "user@example.com")
	w.exec(t, `UPDATE login_key SET expires_at = now() - interval '1 second'`)
	refused("expired", key)
	w.exec(t, `DELETE FROM login_key`)

	key = w.key(t, "user@example.com")
	if n := w.count(t, `SELECT count(*) FROM login_key WHERE expires_at BETWEEN now() + interval '59 minutes' AND now() + interval '1 hour'`); n != 1 {
		t.Error("a key lives for an hour")
	}
	if _, err := w.users.SuspendUser(w.admin(t), &authpb.SuspendUserRequest{Id: id}); err != nil {
		t.Fatal(err)
	}
	refused("suspended", key)
	_, err := w.keys.CreateKey(w.admin(t), &authpb.CreateKeyRequest{User: "user@example.com"})
	wantFault(t, "a key for a suspended account", err, "ACCOUNT_SUSPENDED", "")
	if _, err := w.users.ResumeUser(w.admin(t), &authpb.ResumeUserRequest{Id: id}); err != nil {
		t.Fatal(err)
	}
	refused("suspended and resumed", key)

	key = w.key(t, "user@example.com")
	if _, err := w.users.SetUserPassword(w.admin(t), &authpb.SetUserPasswordRequest{Id: id, Password: "other"}); err != nil {
		t.Fatal(err)
	}
	refused("another password", key)
	key = w.key(t, "user@example.com")
	if _, err := w.users.DeleteUser(w.admin(t), &authpb.DeleteUserRequest{Id: id}); err != nil {
		t.Fatal(err)
	}
	refused("deleted", key)
	if len(answers) != 1 {
		t.Errorf("the answers differ: %v", answers)
	}
}

// TestKeyEndsWithItsMaker: what takes rights from the account that made a key ends the key, the session that another one opened,
// and what that session made; also when a session is opened after the change.
func TestKeyEndsWithItsMaker(t *testing.T) {
	t.Parallel()
	for what, end := range map[string]func(w *world, boss context.Context, id, role int32) error{
		"suspension": func(w *world, boss context.Context, id, _ int32) error {
			return errOf(w.users.SuspendUser(boss, &authpb.SuspendUserRequest{Id: id}))
		},
		"deletion": func(w *world, boss context.Context, id, _ int32) error {
			return errOf(w.users.DeleteUser(boss, &authpb.DeleteUserRequest{Id: id}))
		},
		"loss of role": func(w *world, boss context.Context, id, _ int32) error {
			return errOf(w.users.UpdateUser(boss, &authpb.UpdateUserRequest{Id: id, Roles: []string{identity.RoleUser}}))
		},
		"narrower role": func(w *world, boss context.Context, _, role int32) error {
			return errOf(w.roles().UpdateRole(boss, &authpb.UpdateRoleRequest{Id: role, Scopes: []string{"users.read"}}))
		},
		"new password": func(w *world, boss context.Context, id, _ int32) error {
			return errOf(w.users.SetUserPassword(boss, &authpb.SetUserPasswordRequest{Id: id, Password: "other password"}))
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := start(t, nil)
			userID, _ := w.user(t, "user@example.com", "")
			role := w.role(t, "maker", true, "*")
			id, _ := w.user(t, "maker@example.com", "maker")
			maker := w.as(t, w.mustLogin(t, "maker@example.com", "pw"))
			key := func() string {
				k, err := w.keys.CreateKey(maker, &authpb.CreateKeyRequest{User: "user@example.com"})
				if err != nil {
					t.Fatal(err)
				}
				return k.GetKey()
			}
			opened, err := w.redeem(t, key())
			if err != nil {
				t.Fatal(err)
			}
			made, err := w.tokens.CreateToken(w.as(t, opened.GetToken()), &authpb.CreateTokenRequest{})
			if err != nil {
				t.Fatal(err)
			}
			unused, others := key(), w.key(t, "user@example.com")
			before := w.count(t, `SELECT revision FROM user_account WHERE id = $1`, userID)
			if err := end(w, w.admin(t), id, role); err != nil {
				t.Fatal(err)
			}
			w.dead(t, "the session", opened.GetToken())
			w.dead(t, "its token", made.GetToken())
			_, err = w.redeem(t, unused)
			wantFault(t, "the unused key", err, "INVALID_KEY", "")
			if w.count(t, `SELECT revision FROM user_account WHERE id = $1`, userID) == before {
				t.Error("identities of the session are still good")
			}
			if _, err := w.redeem(t, others); err != nil {
				t.Errorf("a key of another administrator: %v", err)
			}
		})
	}
}

// BenchmarkKey makes a key and redeems it, as a billing system does for each visit of a customer.
func BenchmarkKey(b *testing.B) {
	w := start(b, nil)
	ctx := w.admin(b)
	for b.Loop() {
		r, err := w.keys.CreateKey(ctx, &authpb.CreateKeyRequest{User: adminEmail})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := w.redeem(b, r.GetKey()); err != nil {
			b.Fatal(err)
		}
	}
}
