//go:build e2e

package e2e

import (
	"net/http"
	"net/url"
	"sync"

	"slipway.dev/deploy/wire"
)

// table is what answers look like.
var table = sync.OnceValues(wire.Answers)

// answered are the routes that answered a stack's clients.
type answered struct {
	mu     sync.Mutex
	routes map[string]bool
}

// shaped fails the test if a successful answer is not what clients with fixed types decode. Requests that ask for another shape
// are not looked at.
func (s *stack) shaped(method, path string, resp *http.Response, text []byte) {
	s.t.Helper()
	t, err := table()
	if err != nil {
		s.t.Fatal(err)
	}
	u, err := url.Parse(path)
	if err != nil || resp.StatusCode >= 300 || t.Route(method, u.Path) == "" {
		return
	}
	for _, other := range []string{"fields", "cursor", "explain"} {
		if u.Query().Has(other) {
			return
		}
	}
	s.answered.mu.Lock()
	defer s.answered.mu.Unlock()
	if s.answered.routes == nil {
		s.answered.routes = map[string]bool{}
	}
	s.answered.routes[t.Route(method, u.Path)] = true
	if err := t.Check(method, u.Path, text); err != nil {
		s.t.Errorf("%v", err)
	}
}
