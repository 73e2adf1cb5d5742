package password

import (
	"errors"
	"testing"

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
