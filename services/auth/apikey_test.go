package auth_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/wrapperspb"

	authpb "slipway.dev/proto/auth/v4"
	querypb "slipway.dev/proto/query/v1"

	"slipway.dev/pkg/identity"
)

// apiKey makes a key.
func (w *world) apiKey(t testing.TB, ctx context.Context, r *authpb.CreateAPIKeyRequest) (int32, string) { //nolint:revive // t first, as in this package
	t.Helper()
	if r.GetName() == "" {
		r.Name = "test"
	}
	k, err := w.apikeys.CreateAPIKey(ctx, r)
	if err != nil {
		t.Fatal(err)
	}
	return k.GetId(), k.GetKey()
}

// asFrom is the context of a request that came with this credential from this address.
func (w *world) asFrom(t testing.TB, credential, ip string) (context.Context, error) {
	t.Helper()
	in, err := w.tokens.Introspect(from(t.Context(), ip, ""), &authpb.IntrospectRequest{Token: credential})
	return metadata.AppendToOutgoingContext(from(t.Context(), ip, ""), identity.MetadataKey, in.GetIdentity()), err
}

func TestAPIKey(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	id, me := w.user(t, "user@example.com", "")
	_, other := w.user(t, "other@example.com", "")
	_, reader := w.user(t, "reader@example.com", identity.RoleReadOnlyAdmin)
	keyID, key := w.apiKey(t, me, &authpb.CreateAPIKeyRequest{Name: " billing ", Scopes: []string{"tokens.read", "sshkeys.read", "tokens.read"}})
	if len(key) != 54 || !strings.HasPrefix(key, "slw_") {
		t.Errorf("%q", key)
	}
	l, err := w.apikeys.ListAPIKeys(me, &authpb.ListAPIKeysRequest{})
	if err != nil || l.GetSize() != 1 {
		t.Fatalf("%v %v", l, err)
	}
	if k := l.GetList()[0]; k.GetId() != keyID || k.GetAccountId() != id || k.GetName() != "billing" || k.GetHint() != key[:8] ||
		fmt.Sprint(k.GetScopes()) != "[sshkeys.read tokens.read]" || k.GetExpiresAt() != nil || k.GetLastUsed() != nil || k.GetLastIp() != nil {
		t.Errorf("%v", k)
	}
	if strings.Contains(fmt.Sprint(l), key[8:]) || w.count(t, `SELECT count(*) FROM token t WHERE t::text LIKE '%' || $1 || '%'`, key[8:]) != 0 {
		t.Error("the key is shown twice, or stored")
	}
	program, err := w.asFrom(t, key, "192.0.2.7")
	if err != nil {
		t.Fatal(err)
	}
	k, err := w.apikeys.GetAPIKey(me, &authpb.GetAPIKeyRequest{Id: keyID})
	if err != nil || k.GetLastUsed() == nil || k.GetLastIp().GetValue() != "192.0.2.7" {
		t.Errorf("%v %v", k, err)
	}

	// What its scopes name, and no more.
	if _, err := w.tokens.ListTokens(program, &authpb.ListTokensRequest{}); err != nil {
		t.Error(err)
	}
	if self, err := w.tokens.GetSelfSession(program, &authpb.GetSelfSessionRequest{}); err != nil || self.GetKind() != "apikey" || self.GetId() != keyID {
		t.Errorf("%v %v", self, err)
	}
	for name, err := range map[string]error{
		"a token":   errOf(w.tokens.CreateToken(program, &authpb.CreateTokenRequest{})),
		"a key":     errOf(w.apikeys.CreateAPIKey(program, &authpb.CreateAPIKeyRequest{Name: "x"})),
		"SSH":       errOf(w.users.AddSSHKey(program, &authpb.AddSSHKeyRequest{Account: fmt.Sprint(id)})),
		"its keys":  errOf(w.apikeys.ListAPIKeys(program, &authpb.ListAPIKeysRequest{})),
		"sessions":  errOf(w.sessions.ListSessions(program, &authpb.ListSessionsRequest{})),
		"a new key": errOf(w.keys.CreateKey(program, &authpb.CreateKeyRequest{User: "1"})),
	} {
		wantFault(t, name, err, "PERMISSION_DENIED", "")
	}

	// A mistyped key, and what is none.
	for _, bad := range []string{key[:53] + "!", key[:10] + flip(key[10]) + key[11:], key[:53] + flip(key[53]), key + "0", strings.ToLower(key), "slw_"} {
		w.dead(t, bad, bad)
	}

	// A foreign key does not exist; administrators see it, and those who may change end it.
	for name, err := range map[string]error{
		"read":   errOf(w.apikeys.GetAPIKey(other, &authpb.GetAPIKeyRequest{Id: keyID})),
		"change": errOf(w.apikeys.UpdateAPIKey(w.admin(t), &authpb.UpdateAPIKeyRequest{Id: keyID, Name: wrapperspb.String("x")})),
		"end":    errOf(w.apikeys.DeleteAPIKey(other, &authpb.DeleteAPIKeyRequest{Id: keyID})),
		"reader": errOf(w.apikeys.DeleteAPIKey(reader, &authpb.DeleteAPIKeyRequest{Id: keyID})),
	} {
		wantFault(t, name, err, "NOT_FOUND", "")
	}
	if _, err := w.apikeys.GetAPIKey(reader, &authpb.GetAPIKeyRequest{Id: keyID}); err != nil {
		t.Error(err)
	}
	filtered, err := w.apikeys.ListAPIKeys(w.admin(t), &authpb.ListAPIKeysRequest{Query: &querypb.Query{
		Where: compare("account_id", querypb.Operator_OPERATOR_EQ, fmt.Sprint(id)),
	}})
	if err != nil || filtered.GetSize() != 1 {
		t.Errorf("%v %v", filtered, err)
	}
	if _, err := w.apikeys.DeleteAPIKey(w.admin(t), &authpb.DeleteAPIKeyRequest{Id: keyID}); err != nil {
		t.Error(err)
	}
	w.dead(t, "ended", key)
}

// flip is another character of a key.
func flip(c byte) string {
	if c == 'A' {
		return "B"
	}
	return "A"
}

func TestAPIKeyRefused(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	_, me := w.user(t, "user@example.com", "")
	for name, tt := range map[string]struct {
		r             *authpb.CreateAPIKeyRequest
		reason, field string
	}{
		"no name":           {&authpb.CreateAPIKeyRequest{}, "INVALID_ARGUMENT", "name"},
		"a long name":       {&authpb.CreateAPIKeyRequest{Name: strings.Repeat("x", 256)}, "INVALID_ARGUMENT", "name"},
		"two lines":         {&authpb.CreateAPIKeyRequest{Name: "a\nb"}, "INVALID_ARGUMENT", "name"},
		"a bell":            {&authpb.CreateAPIKeyRequest{Name: "a\ab"}, "INVALID_ARGUMENT", "name"},
		"an unknown scope":  {&authpb.CreateAPIKeyRequest{Name: "x", Scopes: []string{"vms.fly"}}, "INVALID_ARGUMENT", "scopes"},
		"the scope of all":  {&authpb.CreateAPIKeyRequest{Name: "x", Scopes: []string{"self"}}, "INVALID_ARGUMENT", "scopes"},
		"a star among":      {&authpb.CreateAPIKeyRequest{Name: "x", Scopes: []string{"vms.read", "*"}}, "PERMISSION_DENIED", "scopes"},
		"more than one has": {&authpb.CreateAPIKeyRequest{Name: "x", Scopes: []string{"vms.read", "users.write"}}, "PERMISSION_DENIED", "scopes"},
		"no network":        {&authpb.CreateAPIKeyRequest{Name: "x", Cidrs: []string{"192.0.2.0/33"}}, "INVALID_ARGUMENT", "cidrs"},
		"a host's network":  {&authpb.CreateAPIKeyRequest{Name: "x", Cidrs: []string{"192.0.2.1/24"}}, "INVALID_ARGUMENT", "cidrs"},
		"a name for one":    {&authpb.CreateAPIKeyRequest{Name: "x", Cidrs: []string{"localhost"}}, "INVALID_ARGUMENT", "cidrs"},
		"a zone":            {&authpb.CreateAPIKeyRequest{Name: "x", Cidrs: []string{"fe80::1%eth0"}}, "INVALID_ARGUMENT", "cidrs"},
		"the past":          {&authpb.CreateAPIKeyRequest{Name: "x", ExpiresAt: wrapperspb.String("2020-01-01 00:00:00")}, "INVALID_ARGUMENT", "expires_at"},
		"no time":           {&authpb.CreateAPIKeyRequest{Name: "x", ExpiresAt: wrapperspb.String("soon")}, "INVALID_ARGUMENT", "expires_at"},
	} {
		_, err := w.apikeys.CreateAPIKey(me, tt.r)
		wantFault(t, name, err, tt.reason, tt.field)
	}
	if n := w.count(t, `SELECT count(*) FROM token WHERE kind = 'apikey'`); n != 0 {
		t.Errorf("%d keys", n)
	}
	w.exec(t, `INSERT INTO token (kind, account_id, hash, sliding)
		SELECT 'apikey', id, sha256(n::text::bytea), false FROM user_account, generate_series(1, 100) n WHERE email = 'user@example.com'`)
	_, err := w.apikeys.CreateAPIKey(me, &authpb.CreateAPIKeyRequest{Name: "x"})
	wantFault(t, "one more", err, "TOO_MANY_API_KEYS", "")
}

// TestAPIKeyNetworks: a key is good from where it was made for, by the word of the gateway alone.
func TestAPIKeyNetworks(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	_, me := w.user(t, "user@example.com", "")
	_, key := w.apiKey(t, me, &authpb.CreateAPIKeyRequest{Cidrs: []string{"192.0.2.0/24", "2001:db8::1", "198.51.100.7"}})
	for ip, want := range map[string]bool{
		"192.0.2.1": true, "192.0.2.255": true, "::ffff:192.0.2.1": true, "2001:db8::1": true, "198.51.100.7": true,
		"192.0.3.1": false, "2001:db8::2": false, "198.51.100.8": false, "": false, "x": false, "192.0.2.1%eth0": false,
	} {
		if _, err := w.asFrom(t, key, ip); (err == nil) != want {
			t.Errorf("from %q: %v, want %v", ip, err, want)
		}
	}
	// Nor from elsewhere by way of what it makes.
	program, err := w.asFrom(t, key, "192.0.2.1")
	if err != nil {
		t.Fatal(err)
	}
	tok, err := w.tokens.CreateToken(program, &authpb.CreateTokenRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.asFrom(t, tok.GetToken(), "192.0.2.2"); err != nil {
		t.Error(err)
	}
	if _, err := w.asFrom(t, tok.GetToken(), "203.0.113.1"); err == nil {
		t.Error("a token that the key made is good from elsewhere")
	}
}

// TestAPIKeyLives: its end, its owner's roles and state, and its owner's end.
func TestAPIKeyLives(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	id, _ := w.user(t, "boss@example.com", identity.RoleAdmin)
	boss := w.as(t, w.mustLogin(t, "boss@example.com", "pw"))
	_, all := w.apiKey(t, boss, &authpb.CreateAPIKeyRequest{Scopes: []string{"*"}})
	_, some := w.apiKey(t, boss, &authpb.CreateAPIKeyRequest{Scopes: []string{"users.read", "tokens.read"}})
	brief, short := w.apiKey(t, boss, &authpb.CreateAPIKeyRequest{ExpiresAt: wrapperspb.String("2099-01-01 00:00:00")})
	for _, key := range []string{all, some} {
		if _, err := w.users.ListUsers(w.as(t, key), &authpb.ListUsersRequest{}); err != nil {
			t.Error(err)
		}
	}
	if _, err := w.users.UpdateUser(w.admin(t), &authpb.UpdateUserRequest{Id: id, Roles: []string{identity.RoleUser}}); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{all, some} { // it lives, and can do what its owner still can
		_, err := w.users.ListUsers(w.as(t, key), &authpb.ListUsersRequest{})
		wantFault(t, "after the role is lost", err, "PERMISSION_DENIED", "")
		if _, err := w.tokens.ListTokens(w.as(t, key), &authpb.ListTokensRequest{}); err != nil {
			t.Error(err)
		}
	}
	if _, err := w.users.SuspendUser(w.admin(t), &authpb.SuspendUserRequest{Id: id}); err != nil {
		t.Fatal(err)
	}
	w.dead(t, "suspended", all)
	if _, err := w.users.ResumeUser(w.admin(t), &authpb.ResumeUserRequest{Id: id}); err != nil {
		t.Fatal(err)
	}
	w.as(t, all)

	// A key that ended is shown for a month.
	w.exec(t, `UPDATE token SET expires_at = now() - interval '1 day' WHERE id = $1`, brief)
	w.dead(t, "over", short)
	clean := func() {
		ctx, stop := context.WithCancel(t.Context())
		w.exec(t, `INSERT INTO login_failure (key, failures, since) VALUES (sha256('mark'), 1, now() - interval '2 days')`)
		done := make(chan error)
		go func() { done <- w.Run(ctx) }()
		w.exec(t, `SELECT 1`)
		for w.count(t, `SELECT count(*) FROM login_failure WHERE key = sha256('mark')`) > 0 {
			if t.Context().Err() != nil {
				t.Fatal("nothing is cleaned")
			}
		}
		for w.count(t, `SELECT count(*) FROM token WHERE expires_at < now() - interval '30 days'`) > 0 {
			if t.Context().Err() != nil {
				t.Fatal("nothing is cleaned")
			}
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	clean()
	user := w.as(t, w.mustLogin(t, "boss@example.com", "pw"))
	if k, err := w.apikeys.GetAPIKey(user, &authpb.GetAPIKeyRequest{Id: brief}); err != nil || !k.GetExpired() {
		t.Errorf("%v %v", k, err)
	}
	w.exec(t, `UPDATE token SET expires_at = now() - interval '31 days' WHERE id = $1`, brief)
	clean()
	_, err := w.apikeys.GetAPIKey(user, &authpb.GetAPIKeyRequest{Id: brief})
	wantFault(t, "after a month", err, "NOT_FOUND", "")

	if _, err := w.users.SetUserPassword(w.admin(t), &authpb.SetUserPasswordRequest{Id: id, Password: "pw"}); err != nil {
		t.Fatal(err)
	}
	w.dead(t, "another password", all)
	_, last := w.apiKey(t, w.as(t, w.mustLogin(t, "boss@example.com", "pw")), &authpb.CreateAPIKeyRequest{})
	if _, err := w.users.DeleteUser(w.admin(t), &authpb.DeleteUserRequest{Id: id}); err != nil {
		t.Fatal(err)
	}
	w.dead(t, "deleted", last)
	if n := w.count(t, `SELECT count(*) FROM token WHERE account_id = $1`, id); n != 0 {
		t.Errorf("%d credentials of nobody", n)
	}
}

func TestAPIKeyChanges(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	_, me := w.user(t, "user@example.com", "")
	id, key := w.apiKey(t, me, &authpb.CreateAPIKeyRequest{Scopes: []string{"tokens.read", "vms.read"}, Cidrs: []string{"192.0.2.0/24"}})
	change := func(ctx context.Context, r *authpb.UpdateAPIKeyRequest) error {
		r.Id = id
		return errOf(w.apikeys.UpdateAPIKey(ctx, r))
	}
	read := func() *authpb.APIKey {
		k, err := w.apikeys.GetAPIKey(me, &authpb.GetAPIKeyRequest{Id: id})
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	if err := change(me, &authpb.UpdateAPIKeyRequest{Name: wrapperspb.String("other")}); err != nil {
		t.Fatal(err)
	}
	if k := read(); k.GetName() != "other" || len(k.GetScopes()) != 2 || len(k.GetCidrs()) != 1 || k.GetExpiresAt() != nil {
		t.Errorf("%v", k)
	}
	if err := change(me, &authpb.UpdateAPIKeyRequest{ExpiresAt: wrapperspb.String("2099-01-01 00:00:00"), Cidrs: []string{"0.0.0.0/0", "::/0"}}); err != nil {
		t.Fatal(err)
	}
	if k := read(); k.GetExpiresAt().GetValue() != "2099-01-01 00:00:00" || len(k.GetCidrs()) != 2 {
		t.Errorf("%v", k)
	}
	if err := change(me, &authpb.UpdateAPIKeyRequest{ExpiresAt: wrapperspb.String(""), Scopes: []string{"vms.read"}}); err != nil {
		t.Fatal(err)
	}
	if k := read(); k.GetExpiresAt() != nil || fmt.Sprint(k.GetScopes()) != "[vms.read]" {
		t.Errorf("%v", k)
	}
	program, err := w.asFrom(t, key, "203.0.113.1")
	if err != nil {
		t.Fatal(err)
	}
	wantFault(t, "fewer scopes", errOf(w.tokens.ListTokens(program, &authpb.ListTokensRequest{})), "PERMISSION_DENIED", "")
	for name, scopes := range map[string][]string{"more": {"vms.read", "tokens.read"}, "all": {"*"}, "other": {"vms.write"}} {
		wantFault(t, name, change(me, &authpb.UpdateAPIKeyRequest{Scopes: scopes}), "PERMISSION_DENIED", "scopes")
	}
	wantFault(t, "no name", change(me, &authpb.UpdateAPIKeyRequest{Name: wrapperspb.String(" ")}), "INVALID_ARGUMENT", "name")

	// No key lengthens its own life, not even one that can do everything else.
	id, key = w.apiKey(t, me, &authpb.CreateAPIKeyRequest{ExpiresAt: wrapperspb.String("2099-01-01 00:00:00")})
	wantFault(t, "by itself", change(w.as(t, key), &authpb.UpdateAPIKeyRequest{ExpiresAt: wrapperspb.String("")}), "PERMISSION_DENIED", "")
	tok, err := w.tokens.CreateToken(w.as(t, key), &authpb.CreateTokenRequest{})
	if err != nil {
		t.Fatal(err)
	}
	wantFault(t, "by its token", change(w.as(t, tok.GetToken()), &authpb.UpdateAPIKeyRequest{ExpiresAt: wrapperspb.String("")}), "PERMISSION_DENIED", "")
}

// TestAPIKeyMakes: whatever a key makes can do no more than the key, and ends with it.
func TestAPIKeyMakes(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	userID, user := w.user(t, "user@example.com", "")
	boss := w.as(t, w.mustLogin(t, adminEmail, adminPassword))
	scopes := []string{"tokens.write", "tokens.read", "apikeys.write", "users.keys"}
	id, key := w.apiKey(t, boss, &authpb.CreateAPIKeyRequest{Scopes: scopes})
	program := w.as(t, key)

	tok, err := w.tokens.CreateToken(program, &authpb.CreateTokenRequest{})
	if err != nil {
		t.Fatal(err)
	}
	second, err := w.tokens.CreateToken(w.as(t, tok.GetToken()), &authpb.CreateTokenRequest{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.apikeys.CreateAPIKey(program, &authpb.CreateAPIKeyRequest{Name: "x", Scopes: []string{"users.write"}})
	wantFault(t, "a key that can do more", err, "PERMISSION_DENIED", "scopes")
	_, child := w.apiKey(t, program, &authpb.CreateAPIKeyRequest{})
	once, err := w.keys.CreateKey(program, &authpb.CreateKeyRequest{User: fmt.Sprint(userID)})
	if err != nil {
		t.Fatal(err)
	}
	redeemed, err := w.keys.RedeemKey(t.Context(), &authpb.RedeemKeyRequest{Key: once.GetKey()})
	if err != nil {
		t.Fatal(err)
	}
	unused, err := w.keys.CreateKey(program, &authpb.CreateKeyRequest{User: fmt.Sprint(userID)})
	if err != nil {
		t.Fatal(err)
	}
	stone, err := w.keystone.CreateKeystoneToken(t.Context(), &authpb.CreateKeystoneTokenRequest{
		Credential: &authpb.CreateKeystoneTokenRequest_Application{Application: &authpb.KeystoneApplication{Id: id, Secret: key}},
	})
	if err != nil {
		t.Fatal(err)
	}
	made := map[string]string{
		"a token": tok.GetToken(), "a token's token": second.GetToken(), "a key": child, "a session": redeemed.GetToken(), "keystone": stone.GetToken(),
	}
	for name, credential := range made {
		ctx := w.as(t, credential)
		if _, err := w.tokens.ListTokens(ctx, &authpb.ListTokensRequest{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		wantFault(t, name, errOf(w.users.ListUsers(ctx, &authpb.ListUsersRequest{})), "PERMISSION_DENIED", "")
		wantFault(t, name, errOf(w.users.ListSSHKeys(ctx, &authpb.ListSSHKeysRequest{Account: fmt.Sprint(userID)})), "PERMISSION_DENIED", "")
	}
	if _, err := w.apikeys.UpdateAPIKey(boss, &authpb.UpdateAPIKeyRequest{Id: id, Scopes: scopes[:1]}); err != nil {
		t.Fatal(err)
	}
	for name, credential := range made { // the children of a key that can do less can do less
		wantFault(t, name, errOf(w.tokens.ListTokens(w.as(t, credential), &authpb.ListTokensRequest{})), "PERMISSION_DENIED", "")
	}
	if _, err := w.apikeys.DeleteAPIKey(boss, &authpb.DeleteAPIKeyRequest{Id: id}); err != nil {
		t.Fatal(err)
	}
	for name, credential := range made {
		w.dead(t, name, credential)
	}
	_, err = w.keys.RedeemKey(t.Context(), &authpb.RedeemKeyRequest{Key: unused.GetKey()})
	wantFault(t, "a one-time key", err, "INVALID_KEY", "")
	_, err = w.keys.CreateKey(program, &authpb.CreateKeyRequest{User: fmt.Sprint(userID)})
	wantFault(t, "what was signed for the key", err, "UNAUTHENTICATED", "")
	_, err = w.tokens.CreateToken(program, &authpb.CreateTokenRequest{})
	wantFault(t, "what was signed for the key", err, "UNAUTHENTICATED", "")
	if n := w.count(t, `SELECT count(DISTINCT key) FROM outbox WHERE subject = 'auth.v4.session.revoked'`); n < 2 {
		t.Errorf("%d accounts were told", n)
	}
	if _, err := w.tokens.ListTokens(user, &authpb.ListTokensRequest{}); err != nil {
		t.Error(err) // the user's own session has nothing to do with it
	}
}

// TestLimitedToNothing: a credential without any scope is not one with all of them.
func TestLimitedToNothing(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	boss := w.as(t, w.mustLogin(t, adminEmail, adminPassword))
	id, key := w.apiKey(t, boss, &authpb.CreateAPIKeyRequest{Scopes: []string{"tokens.read"}})
	w.exec(t, `UPDATE token SET scopes = '{}' WHERE id = $1`, id)
	wantFault(t, "nothing", errOf(w.tokens.ListTokens(w.as(t, key), &authpb.ListTokensRequest{})), "PERMISSION_DENIED", "")
	if k, err := w.apikeys.GetAPIKey(boss, &authpb.GetAPIKeyRequest{Id: id}); err != nil || len(k.GetScopes()) != 0 {
		t.Errorf("%v %v", k, err)
	}
}
