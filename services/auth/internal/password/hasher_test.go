package password

import (
	"errors"
	"testing"

	"github.com/alexedwards/argon2id"

	"slipway.dev/services/auth/internal/guess"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	h, err := newHasher()
	if err != nil {
		t.Fatal(err)
	}
	hash, err := h.hash(t.Context(), "pw")
	if err != nil {
		t.Fatal(err)
	}
	// The same password at a lower price, as an older version might have stored it.
	const old = "$argon2id$v=19$m=1024,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$"
	for name, tt := range map[string]struct {
		password, hash string
		ok             bool
	}{
		"right":  {"pw", hash, true},
		"wrong":  {"pW", hash, false},
		"nobody": {"nobody", "", false},
	} {
		ok, stale, err := h.check(t.Context(), tt.password, tt.hash)
		if ok != tt.ok || stale || err != nil {
			t.Errorf("%s: %v %v %v", name, ok, stale, err)
		}
	}
	if _, stale, err := h.check(t.Context(), "pw", old+"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"); !stale || err != nil {
		t.Errorf("other parameters: stale %v, %v", stale, err)
	}
}

// TestFormsOfUnicode: a password is the same however it is composed, also where the version before hashed it as it was typed.
func TestFormsOfUnicode(t *testing.T) {
	t.Parallel()
	const composed, apart = "m\u00fcsli", "mu\u0308sli"
	h, err := newHasher()
	if err != nil {
		t.Fatal(err)
	}
	fresh, err := h.hash(t.Context(), apart)
	if err != nil {
		t.Fatal(err)
	}
	before, err := argon2id.CreateHash(apart, &params)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		password, hash string
		ok, stale      bool
	}{
		"composed":                {composed, fresh, true, false},
		"apart":                   {apart, fresh, true, false},
		"apart, as it was hashed": {apart, before, true, true},
	} {
		if ok, stale, err := h.check(t.Context(), tt.password, tt.hash); ok != tt.ok || stale != tt.stale || err != nil {
			t.Errorf("%s: %v %v %v", name, ok, stale, err)
		}
	}
	if ok, _, err := h.check(t.Context(), "mu\u0308sl", fresh); ok || err != nil {
		t.Errorf("another password: %v %v", ok, err)
	}
	if ok, _, err := h.check(t.Context(), apart, ""); ok || err != nil {
		t.Errorf("no account: %v %v", ok, err)
	}
}

// TestEnter: a full queue refuses at once.
func TestEnter(t *testing.T) {
	t.Parallel()
	h, err := newHasher()
	if err != nil {
		t.Fatal(err)
	}
	var leave []func()
	for {
		l, err := h.enter()
		if err != nil {
			if !errors.Is(err, guess.ErrLimited) || len(leave) != 64 {
				t.Errorf("%v after %d", err, len(leave))
			}
			break
		}
		leave = append(leave, l)
	}
	leave[0]()
	if _, err := h.enter(); err != nil {
		t.Errorf("after one left: %v", err)
	}
}
