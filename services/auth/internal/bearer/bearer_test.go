package bearer_test

import (
	"crypto/ed25519"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/outbox"
	"slipway.dev/pkg/pg/pgtest"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/auth/internal/bearer"
	"slipway.dev/services/auth/internal/keyring"
	"slipway.dev/services/auth/internal/schema"
	"slipway.dev/services/auth/internal/seal"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func newRing(t *testing.T) *keyring.Ring {
	t.Helper()
	box, err := seal.Parse(seal.NewKey())
	if err != nil {
		t.Fatal(err)
	}
	r, err := keyring.Open(t.Context(), &unit.DB{Pool: pgtest.New(t, outbox.Migrations, schema.Migrations)}, box)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

const session = "6f1a5a3e-6a0f-4f1f-9d68-0c2f4b6f3a11"

func TestRead(t *testing.T) {
	t.Parallel()
	now := time.Now()
	ring := newRing(t)
	w := bearer.New(ring, func() time.Time { return now })
	text, err := w.Write(bearer.Token{Account: 7, Session: session, Expires: now.Add(time.Hour)})
	if err != nil || !bearer.Is(text) || len(text) > 1024 {
		t.Fatalf("%s %v", text, err)
	}
	got, err := w.Read(t.Context(), text)
	if err != nil || got.Account != 7 || got.Session != session || got.Expires.Unix() != now.Add(time.Hour).Unix() {
		t.Errorf("%+v %v", got, err)
	}

	id, key := ring.Current()
	public, _ := key.Public().(ed25519.PublicKey)
	foreignID, foreignKey := newRing(t).Current()
	head := map[string]any{"alg": "EdDSA", "kid": id, "typ": "at+jwt"}
	body := jwt.MapClaims{
		"iss": "slipway", "aud": []string{"slipway-api"}, "sub": "7", "sid": session, "jti": "x",
		"iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}
	type forgery struct {
		method jwt.SigningMethod
		key    any
		head   map[string]any
		body   jwt.MapClaims
	}
	for name, change := range map[string]func(f *forgery){
		"another key":                func(f *forgery) { f.key = foreignKey },
		"another installation":       func(f *forgery) { f.key, f.head["kid"] = foreignKey, foreignID },
		"no signature":               func(f *forgery) { f.method, f.key = jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType },
		"HMAC with the public key":   func(f *forgery) { f.method, f.key = jwt.SigningMethodHS256, []byte(public) },
		"no key id":                  func(f *forgery) { delete(f.head, "kid") },
		"a path as key id":           func(f *forgery) { f.head["kid"] = "../../" },
		"SQL as key id":              func(f *forgery) { f.head["kid"] = "' OR ''='" },
		"a number as key id":         func(f *forgery) { f.head["kid"] = 1 },
		"critical what nobody knows": func(f *forgery) { f.head["crit"] = []string{"exp"} },
		"a key in the header":        func(f *forgery) { f.head["jwk"] = map[string]string{"kty": "OKP"} },
		"an identity token":          func(f *forgery) { f.head["typ"] = "JWT" },
		"another issuer":             func(f *forgery) { f.body["iss"] = "other" },
		"no issuer":                  func(f *forgery) { delete(f.body, "iss") },
		"another audience":           func(f *forgery) { f.body["aud"] = []string{"other"} },
		"no audience":                func(f *forgery) { delete(f.body, "aud") },
		"over":                       func(f *forgery) { f.body["exp"] = now.Unix() },
		"no end":                     func(f *forgery) { delete(f.body, "exp") },
		"an end in text":             func(f *forgery) { f.body["exp"] = "never" },
		"not good yet":               func(f *forgery) { f.body["nbf"] = now.Add(time.Minute).Unix() },
		"made tomorrow":              func(f *forgery) { f.body["iat"] = now.Add(24 * time.Hour).Unix() },
		"no session":                 func(f *forgery) { delete(f.body, "sid") },
		"no account":                 func(f *forgery) { f.body["sub"] = "admin" },
	} {
		f := forgery{jwt.SigningMethodEdDSA, key, maps.Clone(head), maps.Clone(body)}
		change(&f)
		f.head["alg"] = f.method.Alg()
		j := jwt.Token{Method: f.method, Header: f.head, Claims: f.body}
		text, err := j.SignedString(f.key)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got, err := w.Read(t.Context(), text); !errors.Is(err, identity.ErrInvalid) {
			t.Errorf("%s: %+v %v", name, got, err)
		}
	}
	parts := strings.Split(text, ".")
	for name, text := range map[string]string{
		"empty": "", "dots": "..", "a megabyte of dots": strings.Repeat(".", 1<<20), "a megabyte": strings.Repeat("a", 1<<20) + "..",
		"cut": text[:len(text)-1], "longer": text + "A", "padded": text + "=", "no signature": parts[0] + "." + parts[1] + ".",
		"two of three": parts[0] + "." + parts[1], "another head": strings.Repeat("A", len(parts[0])) + "." + parts[1] + "." + parts[2],
	} {
		if got, err := w.Read(t.Context(), text); !errors.Is(err, identity.ErrInvalid) {
			t.Errorf("%s: %+v %v", name, got, err)
		}
	}
	now = now.Add(time.Hour)
	if _, err := w.Read(t.Context(), text); !errors.Is(err, identity.ErrInvalid) {
		t.Errorf("after its end: %v", err)
	}
}

// TestNoIdentity: neither is taken for the other, though one key signs both.
func TestNoIdentity(t *testing.T) {
	t.Parallel()
	ring := newRing(t)
	w := bearer.New(ring, time.Now)
	text, err := w.Write(bearer.Token{Account: 7, Session: session, Expires: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := identity.NewVerifier(ring.Public).Verify(t.Context(), text); !errors.Is(err, identity.ErrInvalid) {
		t.Errorf("an access token as an identity: %v", err)
	}
	signed, err := ring.Sign(identity.Identity{AccountID: 7, Expires: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Read(t.Context(), signed); !errors.Is(err, identity.ErrInvalid) {
		t.Errorf("an identity as an access token: %v", err)
	}
}
