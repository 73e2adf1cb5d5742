package edge

import (
	"net/http"
	"strings"
	"time"

	"slipway.dev/pkg/fault"
)

// Mount is one API behind the edge: its paths, and how it refuses requests.
type Mount struct {
	// Name is that of its dialect.
	Name string
	// Prefixes of the paths that belong to the mount, such as "/vm/v3"; "/" for every path that no other mount claims.
	Prefixes []string
	// Alias is a prefix that clients may add to every path, such as "/api".
	Alias string
	// Fail writes a refusal in the shape of the dialect.
	Fail func(http.ResponseWriter, *http.Request, error)
	// Credentials are the places of a token, in order of precedence.
	Credentials []Credential
	Limits      Limits
	Parameters  Parameters
	// Groups are the prefixes of paths by which metrics are grouped, such as "/vm/v3".
	Groups []string
	// Routes are those with properties that the edge must know.
	Routes  []Route
	Handler http.Handler
}

// Limits are the limits of a request. 0 means the limit of the level above: a route inherits from its mount, a mount
// from the edge. A negative value means no limit.
type Limits struct {
	Body int64         // bytes
	URL  int           // bytes; only of a mount
	Time time.Duration // of the whole request
}

// or returns the limits, with those of outer in place of zeros.
func (l Limits) or(outer Limits) Limits {
	if l.Body == 0 {
		l.Body = outer.Body
	}
	if l.URL == 0 {
		l.URL = outer.URL
	}
	if l.Time == 0 {
		l.Time = outer.Time
	}
	return l
}

// Route is what the edge must know about a route before the dialect sees the request.
type Route struct {
	// Method is that of HTTP.
	Method string
	// Path is the template, such as "/auth/v4/token/{token}".
	Path   string
	Limits Limits
	// Acts: the route changes something although it is a GET.
	Acts bool
	// Secret is the name of the path variable that holds a credential; "" for none.
	Secret string
}

// Match reports whether path matches template. A variable matches one segment that is not empty.
func Match(template, path string) bool {
	for {
		t, restT, moreT := strings.Cut(template, "/")
		p, restP, moreP := strings.Cut(path, "/")
		if moreT != moreP || t != p && (p == "" || !strings.HasPrefix(t, "{")) {
			return false
		}
		if !moreT {
			return true
		}
		template, path = restT, restP
	}
}

// claims returns the length of the longest prefix of the mount that matches path; 0 for none.
func (m *Mount) claims(path string) int {
	longest := 0
	for _, p := range m.Prefixes {
		if p == "/" {
			longest = max(longest, 1)
		} else if rest, ok := strings.CutPrefix(path, p); ok && (rest == "" || rest[0] == '/') {
			longest = max(longest, len(p))
		}
	}
	return longest
}

// MountOf returns the mount with the longest prefix of path, or the first mount if no prefix matches.
func MountOf(mounts []*Mount, path string) *Mount {
	found, longest := mounts[0], 0
	for _, m := range mounts {
		n := m.claims(path)
		if rest, ok := cutAlias(path, m.Alias); ok {
			n = max(n, m.claims(rest))
		}
		if n > longest {
			found, longest = m, n
		}
	}
	return found
}

func cutAlias(path, alias string) (string, bool) {
	rest, ok := strings.CutPrefix(path, alias)
	if alias == "" || !ok || rest != "" && rest[0] != '/' {
		return path, false
	}
	return rest, true
}

// group returns the metrics group of a path. Clients may send any path, so the path itself must not become a label.
func (m *Mount) group(path string) string {
	for _, g := range m.Groups {
		if strings.HasPrefix(path, g) {
			return g
		}
	}
	return "other"
}

// limitsOf returns the limits of a request and whether its route declares limits of its own.
func (m *Mount) limitsOf(method, path string) (l Limits, own bool) {
	for i := range m.Routes {
		r := &m.Routes[i]
		if (r.Limits.Body != 0 || r.Limits.Time != 0) && sameMethod(r.Method, method) && Match(r.Path, path) {
			return r.Limits.or(m.Limits), true
		}
	}
	return m.Limits, false
}

// acts reports whether the route of a GET request changes something.
func (m *Mount) acts(method, path string) bool {
	for i := range m.Routes {
		if r := &m.Routes[i]; r.Acts && sameMethod(r.Method, method) && Match(r.Path, path) {
			return true
		}
	}
	return false
}

func sameMethod(route, request string) bool {
	return route == request || route == http.MethodGet && request == http.MethodHead
}

// masked returns path with asterisks in place of the credential that its route declares, and of the rest of the path.
func (m *Mount) masked(path string) (string, bool) {
	for i := range m.Routes {
		r := &m.Routes[i]
		before, _, ok := strings.Cut(r.Path, "{"+r.Secret+"}")
		if r.Secret == "" || !ok {
			continue
		}
		depth := strings.Count(before, "/")
		segments := strings.SplitAfterN(path, "/", depth+1)
		if len(segments) <= depth {
			continue
		}
		head := strings.Join(segments[:depth], "")
		if Match(strings.TrimSuffix(before, "/"), strings.TrimSuffix(head, "/")) {
			return head + "***", true
		}
	}
	return path, false
}

var errForeign = fault.Denied.With("requests from pages of another site are not allowed")
