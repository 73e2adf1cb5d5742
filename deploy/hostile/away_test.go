package hostile

import (
	"cmp"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	"slipway.dev/pkg/faulty"
)

// through puts a proxy in front of the server that serverURL names by the directory of its socket.
func (s *world) through(name, serverURL string) string {
	s.Helper()
	u, err := url.Parse(serverURL)
	s.must(err)
	q := u.Query()
	if q.Get("host") == "" {
		s.proxies[name], err = faulty.NewProxy("tcp", u.Host)
	} else {
		s.proxies[name], err = faulty.NewProxy("unix", filepath.Join(q.Get("host"), ".s.PGSQL."+q.Get("port")))
	}
	s.must(err)
	q.Del("host")
	q.Del("port")
	u.Host, u.RawQuery = s.proxies[name].Addr(), q.Encode()
	return u.String()
}

// withoutDatabase are reads that are answered from what is in the program: scopes, and that there is no such setting.
var withoutDatabase = []protoreflect.Name{"ListScopes", "GetSetting"}

// TestDatabaseAway: while a service has no database its reads say 503, which clients repeat, and nothing says 500.
func TestDatabaseAway(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	targets := s.targets()
	for name, proxy := range s.proxies {
		proxy.Refuse()
		reads := 0
		for _, r := range routes() {
			if string(r.rpc.ParentFile().Package().Parent()) != name {
				continue
			}
			path := r.with(func(string) string { return cmp.Or(targets[r.noun()], "1") })
			a := s.admin.send(r.method, path, "{}")
			switch {
			case a.status == http.StatusServiceUnavailable:
				reads++
			case a.status >= 500, r.method == http.MethodGet && !slices.Contains(withoutDatabase, r.rpc.Name()):
				t.Errorf("%s is away: %s %s (%s): %d %.200s", name, r.method, path, r.rpc.Name(), a.status, a.text)
			}
		}
		if reads < 5 {
			t.Errorf("%s is away: %d routes answered 503", name, reads)
		}
		t.Logf("%s is away: %d routes answered 503", name, reads)
		s.must(proxy.Open())
	}
	for _, path := range []string{"/auth/v4/user", "/ip/v3/ippool/1", "/vm/v3/host"} {
		s.admin.ok("GET", path, "")
	}
}
