package hostile

import (
	"fmt"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"testing"
)

// redeem uses a key and reports whether it opened a session.
func (s *world) redeem(key string) bool {
	s.Helper()
	a := s.nobody().send("POST", "/auth/v4/public/key", fmt.Sprintf(`{"key":%q}`, key))
	if a.status >= 500 || a.status != http.StatusOK && !a.shaped {
		s.Errorf("a key is answered with %d %s", a.status, a.text)
	}
	return a.status == http.StatusOK
}

// TestKeysOpenOneSession has 10 keys tried by 200 at once each, 100 keys in make chaos.
func TestKeysOpenOneSession(t *testing.T) {
	t.Parallel()
	keys := int64(10)
	if os.Getenv("SLIPWAY_CHAOS") != "" {
		keys = 100
	}
	s := newStack(t)
	id, _ := s.account("k@example.com", "@user", "first-password")
	path := fmt.Sprintf("/auth/v4/user/%d", id)
	key := func() string { return s.admin.ok("POST", path+"/key", "{}").body["key"].(string) }
	var opened atomic.Int64
	for range keys {
		k := key()
		var all sync.WaitGroup
		before := opened.Load()
		for range 200 {
			all.Go(func() {
				if s.redeem(k) {
					opened.Add(1)
				}
			})
		}
		all.Wait()
		if n := opened.Load() - before; n != 1 {
			t.Errorf("a key opened %d sessions", n)
		}
	}
	if opened.Load() != keys {
		t.Errorf("%d keys opened %d sessions", keys, opened.Load())
	}
	for name, spoil := range map[string]func(){
		"its hour is over": func() {
			if _, err := s.pools["auth"].Exec(t.Context(), `UPDATE login_key SET expires_at = now() - interval '1 second' WHERE used_at IS NULL`); err != nil {
				t.Fatal(err)
			}
		},
		"a new password": func() { s.admin.ok("POST", path+"/password", `{"password":"second-password"}`) },
		"suspended":      func() { s.admin.ok("POST", path+"/suspend", "") },
	} {
		s.admin.send("POST", path+"/resume", "")
		k := key()
		spoil()
		for range 20 {
			if s.redeem(k) {
				t.Errorf("%s, and the key opens a session", name)
			}
		}
	}
}
