package auth_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/fault"
)

// makes are the ways to make a credential with another one, by name. Each returns the new credential.
func (w *world) makes() map[string]func(t *testing.T, by, ip string) (string, error) {
	with := func(t *testing.T, by, ip string, do func(context.Context) (string, error)) (string, error) {
		t.Helper()
		ctx, err := w.asFrom(t, by, ip)
		if err != nil {
			return "", err
		}
		return do(ctx)
	}
	key := func(user string) func(*testing.T, string, string) (string, error) {
		return func(t *testing.T, by, ip string) (string, error) {
			t.Helper()
			return with(t, by, ip, func(ctx context.Context) (string, error) {
				k, err := w.keys.CreateKey(ctx, &authpb.CreateKeyRequest{User: user})
				if err != nil {
					return "", err
				}
				s, err := w.redeem(t, k.GetKey())
				return s.GetToken(), err
			})
		}
	}
	return map[string]func(*testing.T, string, string) (string, error){
		"token": func(t *testing.T, by, ip string) (string, error) {
			t.Helper()
			return with(t, by, ip, func(ctx context.Context) (string, error) {
				r, err := w.tokens.CreateToken(ctx, &authpb.CreateTokenRequest{})
				return r.GetToken(), err
			})
		},
		"API key": func(t *testing.T, by, ip string) (string, error) {
			t.Helper()
			return with(t, by, ip, func(ctx context.Context) (string, error) {
				r, err := w.apikeys.CreateAPIKey(ctx, &authpb.CreateAPIKeyRequest{Name: "x"})
				return r.GetKey(), err
			})
		},
		"session by one-time key": key(adminEmail),
		"session of another":      key("user@example.com"),
	}
}

var chainScopes = []string{"tokens.write", "tokens.read", "apikeys.write", "users.keys"}

// chainKey makes an API key that can do what chains need and more, and with it a narrower one.
func (w *world) chainKey(t *testing.T, narrow *authpb.CreateAPIKeyRequest) (first, second string, id int32) {
	t.Helper()
	boss := w.as(t, w.mustLogin(t, adminEmail, adminPassword))
	_, first = w.apiKey(t, boss, &authpb.CreateAPIKeyRequest{Scopes: append([]string{"users.read"}, chainScopes...)})
	id, second = w.apiKey(t, w.as(t, first), narrow)
	return first, second, id
}

// TestChainLimits: what is made with a key that was made with a key has the limits of both, at every later step.
func TestChainLimits(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	w.user(t, "user@example.com", "")
	const inside, outside = "192.0.2.1", "203.0.113.1"
	first, second, _ := w.chainKey(t, &authpb.CreateAPIKeyRequest{
		Scopes: chainScopes, Cidrs: []string{"192.0.2.0/24"},
		ExpiresAt: wrapperspb.String(time.Now().UTC().Add(time.Hour).Format(time.DateTime)),
	})
	if _, err := w.users.ListUsers(w.as(t, first), &authpb.ListUsersRequest{}); err != nil {
		t.Fatal(err)
	}
	check := func(what, credential string, anywhere bool) {
		t.Helper()
		ctx, err := w.asFrom(t, credential, inside)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			return
		}
		wantFault(t, what, errOf(w.users.ListUsers(ctx, &authpb.ListUsersRequest{})), "PERMISSION_DENIED", "")
		if _, err := w.asFrom(t, credential, outside); (err == nil) != anywhere {
			t.Errorf("%s, from outside: %v", what, err)
		}
	}
	var all []string
	for one, make1 := range w.makes() {
		a, err := make1(t, second, inside)
		if err != nil {
			t.Fatalf("%s: %v", one, err)
		}
		check(one, a, one == "session of another")
		all = append(all, a)
		for two, make2 := range w.makes() {
			b, err := make2(t, a, inside)
			if f, _ := fault.From(err); f != nil && f.Reason == "PERMISSION_DENIED" && one == "session of another" {
				continue // a user makes no keys
			}
			if err != nil {
				t.Fatalf("%s by %s: %v", two, one, err)
			}
			check(two+" by "+one, b, two == "session of another")
			all = append(all, b)
		}
	}
	if len(all) < 15 {
		t.Errorf("only %d credentials were made", len(all))
	}
	w.exec(t, `UPDATE token SET expires_at = now() - interval '1 second' WHERE kind = 'apikey' AND cidrs <> '{}'`)
	for i, credential := range all { // each ends when the second key does
		if _, err := w.asFrom(t, credential, inside); err == nil {
			t.Errorf("credential %d outlives the key that made it", i)
		}
	}
	w.as(t, first)
}

// TestChainEnds: the end of any credential ends what it made and what that made, and no more, and the accounts of all of them
// are named in events.
func TestChainEnds(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	userID, _ := w.user(t, "user@example.com", "")
	first, second, id := w.chainKey(t, &authpb.CreateAPIKeyRequest{Scopes: chainScopes})
	boss := w.as(t, w.mustLogin(t, adminEmail, adminPassword))
	makes := w.makes()
	const ip = "192.0.2.1"
	for one, make1 := range makes {
		a, err := make1(t, second, ip)
		if err != nil {
			t.Fatal(err)
		}
		b, err := makes["token"](t, a, ip)
		if err != nil {
			t.Fatalf("token by %s: %v", one, err)
		}
		c, err := makes["token"](t, b, ip)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.tokens.DeleteToken(boss, &authpb.DeleteTokenRequest{Token: a}); err != nil {
			t.Fatalf("%s: %v", one, err)
		}
		w.dead(t, one, a)
		w.dead(t, "token by "+one, b)
		w.dead(t, "token by token by "+one, c)
		w.as(t, second)
	}
	over, err := makes["session of another"](t, second, ip)
	if err != nil {
		t.Fatal(err)
	}
	under, err := makes["token"](t, over, ip)
	if err != nil {
		t.Fatal(err)
	}
	before := w.count(t, `SELECT revision FROM user_account WHERE id = $1`, userID)
	if _, err := w.apikeys.DeleteAPIKey(boss, &authpb.DeleteAPIKeyRequest{Id: id}); err != nil {
		t.Fatal(err)
	}
	w.dead(t, "the key", second)
	w.dead(t, "a session of another account", over)
	w.dead(t, "its token", under)
	if w.count(t, `SELECT revision FROM user_account WHERE id = $1`, userID) == before {
		t.Error("identities of the other account are still good")
	}
	w.as(t, first)
}

// TestChainOfTokens: a token ends with the token that made it, but outlives a session that a password opened. Chains are not
// endless.
func TestChainOfTokens(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	session := w.mustLogin(t, adminEmail, adminPassword)
	makeToken := w.makes()["token"]
	const ip = "192.0.2.1"
	tokens := []string{}
	by := session
	var err error
	for err == nil && len(tokens) < 100 {
		if by, err = makeToken(t, by, ip); err == nil {
			tokens = append(tokens, by)
		}
	}
	if f, _ := fault.From(err); f == nil || f.Reason != "TOO_MANY_MAKERS" || len(tokens) < 3 {
		t.Fatalf("after %d: %v", len(tokens), errors.Join(err, fmt.Errorf("no end")))
	}
	if _, err := w.tokens.DeleteToken(w.as(t, session), &authpb.DeleteTokenRequest{Token: session}); err != nil {
		t.Fatal(err)
	}
	first := w.as(t, tokens[0])
	if _, err := w.tokens.DeleteToken(first, &authpb.DeleteTokenRequest{Token: tokens[1]}); err != nil {
		t.Fatal(err)
	}
	w.as(t, tokens[0])
	for _, token := range tokens[1:] {
		w.dead(t, "a later token", token)
	}
}
