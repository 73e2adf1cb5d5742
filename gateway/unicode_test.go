package gateway_test

import (
	"strings"
	"testing"
)

// TestComposedText checks that a text has one form of Unicode, however a client writes it: in a body, raw or escaped, in a filter and
// in a path. Secrets stay as they are.
func TestComposedText(t *testing.T) {
	t.Parallel()
	const composed, apart = "b\u00fcro", "bu\u0308ro"
	s := newQuietStack(t)
	for _, text := range []string{composed, apart, `bu\u0308ro`, `b\u00fcro`} {
		s.vm.created.Store(nil)
		rec := send(t, s.Handler(), "POST /vm/v3/host", "x-xsrf-token: user", "",
			`{"name":"`+text+`","comment":"`+text+`","password":"`+text+`","ssh_keys":["`+text+`"]}`)
		got := s.vm.created.Load()
		if rec.Code != 200 || got.GetName() != composed || got.GetComment() != composed {
			t.Errorf("%s: %d %q %q", text, rec.Code, got.GetName(), got.GetComment())
		}
		want := composed
		if text == apart || text == `bu\u0308ro` {
			want = apart
		}
		if got.GetPassword() != want {
			t.Errorf("%s: the password is %q", text, got.GetPassword())
		}
	}
	rec := send(t, s.Handler(), "GET /vm/v3/host?where=name+EQ+'bu%CC%88ro'", "x-xsrf-token: user")
	if !strings.Contains(rec.Body.String(), "where[name EQ '"+composed+"']") {
		t.Errorf("a filter: %s", rec.Body)
	}
	rec = send(t, s.Handler(), "GET /auth/v4/user/bu%CC%88ro@example.com/sshkey", "x-xsrf-token: admin")
	if !strings.Contains(rec.Body.String(), "of "+composed+"@example.com") {
		t.Errorf("a path: %d %s", rec.Code, rec.Body)
	}
}
