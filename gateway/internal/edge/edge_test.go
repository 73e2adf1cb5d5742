package edge

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway.dev/pkg/fault"

	"slipway.dev/gateway/internal/proxies"
)

func TestQuery(t *testing.T) {
	t.Parallel()
	of := Parameters{Several: []string{"a"}, Raw: []string{"a"}}
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
		got, err := Query(raw, of)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v %s", raw, err, diff)
		}
	}
	for raw, field := range map[string]string{
		`b=1&b=1`: "b", `b=1&a=2&%62=`: "b", `=1&=2`: "", `b[]=1&b[]=2`: "", `b=%zz`: "b", `b=%`: "b", `b=1%2`: "b", `b=%ff`: "b", "b=\xff": "b",
		`b=%c3`: "b", `%zz=1`: "", `%ff=1`: "", `a%=1`: "", `a=1&%`: "",
	} {
		_, err := Query(raw, of)
		if f, ok := fault.From(err); !ok || f.Reason != fault.Invalid.Reason || f.Field != field {
			t.Errorf("%s: %v, want a fault on %q", raw, err, field)
		}
	}
	if v, err := Query(strings.Repeat("a=1&", maxParams), of); err != nil || len(v["a"]) != maxParams {
		t.Errorf("%d parameters: %v", len(v["a"]), err)
	}
	if _, err := Query(strings.Repeat("a=1&", maxParams)+"where=x", of); !errors.Is(err, ErrTooManyParams) {
		t.Errorf("a where that would be dropped: %v", err)
	}
}

func TestPlainURL(t *testing.T) {
	t.Parallel()
	for path, want := range map[string][2]string{
		"/": {"/", "/"}, "/api": {"/", "/"}, "/api/": {"/", "/"}, "/api/vm/v3/host/": {"/vm/v3/host", "/vm/v3/host"},
		"/vm/v3/host//": {"/vm/v3/host", "/vm/v3/host"}, "/apis": {"/apis", "/apis"}, "/api/api/x": {"/api/x", "/api/x"},
		"/vm/v3/host/a%2Fb/": {"/vm/v3/host/a%2Fb", "/vm/v3/host/a/b"},
		"/api%2Fvm/v3/host":  {"/api%2Fvm/v3/host", "/api/vm/v3/host"}, // an escaped slash ends no alias
		"/api/vm%2F":         {"/vm%2F", "/vm/"},
	} {
		u, err := url.Parse(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := plainURL(u, "/api"); got.RawPath != want[0] || got.Path != want[1] {
			t.Errorf("%s: %s %s, want %s", path, got.RawPath, got.Path, want)
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
	trusted, err := proxies.Parse([]string{"10.0.0.0/16", "::1"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, remote, forwarded string
		trusted                 *proxies.List
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
	m := &Mount{Routes: []Route{
		{Method: http.MethodDelete, Path: "/auth/v4/token/{token}", Secret: "token"},
		{Method: http.MethodGet, Path: "/auth/key/{key}", Secret: "key"},
		{Method: http.MethodGet, Path: "/auth/v4/user/{user}/link/{key}", Secret: "key"},
	}}
	const id = "550e8400-e29b-41d4-a716-446655440000"
	for path, want := range map[string]string{
		"/vm/v3/host/1": "/vm/v3/host/1", "/auth/v4/token/4-abc": "/auth/v4/token/***", "/auth/key/4-abc/x": "/auth/key/***",
		"/auth/v4/token": "/auth/v4/token", "/auth/v4/user/me@example.com/link/abc": "/auth/v4/user/me@example.com/link/***",
		"/vm/v3/parked/" + id: "/vm/v3/parked/" + id, "/auth/v4/token/" + id: "/auth/v4/token/***",
		"/auth/v4/tokn/4-0123456789abcdef0123": "/auth/v4/tokn/***",
	} {
		if got := loggedPath(m, path); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	if got := loggedPath(m, "/"+strings.Repeat("ü", 1000)); len(got) > maxLogged+4 {
		t.Errorf("%d bytes", len(got))
	}
}

// TestMountOf: a path belongs to the mount with the longest prefix, with or without the alias, and else to the first.
func TestMountOf(t *testing.T) {
	t.Parallel()
	mounts := []*Mount{{Name: "all", Prefixes: []string{"/"}, Alias: "/api"}, {Name: "panel", Prefixes: []string{"/api/v1", "/dci"}}}
	for path, want := range map[string]string{
		"/": "all", "/vm/v3/host": "all", "/api/vm/v3/host": "all", "/api/v1": "panel", "/api/v1/x": "panel", "/api/v12": "all",
		"/dci/x": "panel", "/api/dci": "all", "": "all", "*": "all",
	} {
		if got := MountOf(mounts, path); got.Name != want {
			t.Errorf("%s belongs to %s, want %s", path, got.Name, want)
		}
	}
}

// TestSlashesAreOne: clients join a base that ends with a slash and a path that begins with one.
func TestSlashesAreOne(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"//vm/v3/host": "/vm/v3/host", "/vm//v3///host/": "/vm/v3/host", "///api//vm/v3/host": "/vm/v3/host", "//": "/",
		"/api//": "/", "/dci//x%2F%2Fy": "/dci/x%2F%2Fy", "/vm/v3/host?where=a//b": "/vm/v3/host?where=a//b",
	} {
		got := ""
		h := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.URL.RequestURI() })
		e := Handler(Config{}, slog.New(slog.DiscardHandler), &Mount{Name: "all", Prefixes: []string{"/"}, Alias: "/api", Handler: h},
			&Mount{Name: "panel", Prefixes: []string{"/dci"}, Handler: h})
		r := httptest.NewRequest(http.MethodGet, "http://x/", nil)
		var err error
		if r.URL, err = r.URL.Parse("http://x" + path); err != nil {
			t.Fatal(err)
		}
		r.RequestURI = path
		rec := httptest.NewRecorder()
		e.ServeHTTP(rec, r)
		if got != want || rec.Code != http.StatusOK {
			t.Errorf("%s is served as %s with %d, want %s", path, got, rec.Code, want)
		}
	}
}

func TestAbortGoesThrough(t *testing.T) {
	t.Parallel()
	h := Handler(Config{}, nil, &Mount{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })})
	defer func() {
		if p := recover(); p != http.ErrAbortHandler { //nolint:errorlint // the value itself is the contract of net/http
			t.Errorf("%v", p)
		}
	}()
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
}
