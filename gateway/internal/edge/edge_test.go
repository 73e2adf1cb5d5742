package edge

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestQuery(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]url.Values{
		``:                        {},
		`a=1&b=2&a=3`:             {"a": {"1", "3"}, "b": {"2"}},
		`a=1+2%2B3`:               {"a": {"1 2+3"}},
		`a=%`:                     {"a": {"%"}},
		`a=%2`:                    {"a": {"%2"}},
		`a=%zz%41`:                {"a": {"%zzA"}},
		`a=100%&b`:                {"a": {"100%"}, "b": {""}},
		`a;b=1;2`:                 {"a;b": {"1;2"}},
		`a='(x)'"`:                {"a": {`'(x)'"`}},
		`a=%c3%bc%C3`:             {"a": {"ü%C3"}},
		`a=%ad%f0%9f%98%80%ff%fe`: {"a": {"%ad😀%ff%fe"}},
		`a=b=c&&=d`:               {"a": {"b=c"}, "": {"d"}},
		`%61=%26%3D`:              {"a": {"&="}},
	} {
		if diff := cmp.Diff(want, Query(raw)); diff != "" {
			t.Errorf("%s: %s", raw, diff)
		}
	}
	if n := len(Query(strings.Repeat("a&", 10_000))["a"]); n != maxParams {
		t.Errorf("%d parameters", n)
	}
}

func TestPlainPath(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"/": "/", "": "/", "/api": "/", "/api/": "/", "/api/vm/v3/host/": "/vm/v3/host", "/vm/v3/host//": "/vm/v3/host",
		"/apis": "/apis", "/api/api/x": "/api/x", "/vm/v3/host/a%2Fb/": "/vm/v3/host/a%2Fb",
	} {
		if got := plainPath(path); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

func TestRequestID(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"a", "550e8400-e29b-41d4-a716-446655440000", "A_b.9"} {
		if got := requestID(id); got != id {
			t.Errorf("%s became %s", id, got)
		}
	}
	for _, id := range []string{"", "a b", "a\nb", `a"b`, "ü", strings.Repeat("a", 65)} {
		if got := requestID(id); got == id || len(got) < 16 {
			t.Errorf("%q became %q", id, got)
		}
	}
}

func TestClientAddr(t *testing.T) {
	t.Parallel()
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	for _, tt := range []struct {
		name, remote, forwarded string
		trusted                 []netip.Prefix
		want                    string
	}{
		{"no proxy", "203.0.113.7:1", "", nil, "203.0.113.7"},
		{"liar without proxies", "203.0.113.7:1", "192.0.2.1", nil, "203.0.113.7"},
		{"liar", "203.0.113.7:1", "192.0.2.1", trusted, "203.0.113.7"},
		{"proxy", "10.0.0.1:1", "192.0.2.1", trusted, "192.0.2.1"},
		{"liar before the proxy", "10.0.0.1:1", "1.1.1.1, 192.0.2.1", trusted, "192.0.2.1"},
		{"two proxies", "10.0.0.1:1", "192.0.2.1, 10.0.0.2", trusted, "192.0.2.1"},
		{"nonsense", "10.0.0.1:1", "192.0.2.1, nonsense", trusted, "10.0.0.1"},
		{"proxy says nothing", "[::1]:1", "", trusted, "::1"},
		{"mapped", "[::ffff:10.0.0.1]:1", "2001:db8::1", trusted, "2001:db8::1"},
		{"zone", "[fe80::1%eth0]:1", "", trusted, "fe80::1"},
		{"none", "@", "", trusted, ""},
	} {
		r := &http.Request{RemoteAddr: tt.remote, Header: http.Header{}}
		if tt.forwarded != "" {
			r.Header.Set("X-Forwarded-For", tt.forwarded)
		}
		if got := clientAddr(r, tt.trusted); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestLoggedPath(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"/vm/v3/host/1": "/vm/v3/host/1", "/auth/v4/token/4-abc": "/auth/v4/token/***", "/api/auth/key/4-abc": "/auth/key/***",
		"/auth/key-v4/4-abc/x": "/auth/key-v4/***", "/auth/v3/session/abc": "/auth/v3/session/***", "/auth/v4/token": "/auth/v4/token",
	} {
		if got := loggedPath(path); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	if got := loggedPath("/" + strings.Repeat("ü", 1000)); len(got) > maxLogged+4 {
		t.Errorf("%d bytes", len(got))
	}
}

func TestAbortGoesThrough(t *testing.T) {
	t.Parallel()
	h := Handler(Config{}, nil, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	defer func() {
		if p := recover(); p != http.ErrAbortHandler { //nolint:errorlint // the value itself is the contract of net/http
			t.Errorf("%v", p)
		}
	}()
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
}
