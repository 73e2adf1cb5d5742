package edge

import (
	"context"
	"net/http"
	"strings"

	"slipway.dev/pkg/identity"
)

// maxToken is the greatest length of a credential; a longer one is ignored.
const maxToken = 1024

// credential is a token as a client sent it.
type credential struct {
	token string
	// cookie: a browser may have sent the token because a page of another site asked it to.
	cookie bool
}

// Credential is a place where a token may be.
type Credential struct {
	// Header in the spelling of http.Header, or Cookie.
	Header, Cookie string
	// Bearer: the header holds "Bearer" and then the token.
	Bearer bool
}

// credentialOf returns the first token that a request has in the places of a dialect.
func credentialOf(h http.Header, places []Credential) credential {
	var r *http.Request
	for _, p := range places {
		if p.Cookie != "" {
			if len(h["Cookie"]) == 0 {
				continue
			}
			if r == nil {
				r = &http.Request{Header: h}
			}
			for _, c := range r.CookiesNamed(p.Cookie) {
				if c.Value != "" {
					return credential{token: c.Value, cookie: true}
				}
			}
			continue
		}
		v := h[p.Header]
		if len(v) == 0 {
			continue
		}
		text := strings.TrimSpace(v[0])
		if p.Bearer {
			text = bearer(text)
		}
		if text != "" {
			return credential{token: text}
		}
	}
	return credential{}
}

func bearer(text string) string {
	scheme, token, _ := strings.Cut(text, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// Guard finds the account of a request's credential before it calls next. An unknown or expired token counts as no
// token: the service decides what such a caller may do.
func Guard(sessions *Sessions, next http.Handler) http.Handler {
	g := &guard{sessions: sessions, origin: http.NewCrossOriginProtection(), next: next}
	return g
}

type guard struct {
	sessions *Sessions
	origin   *http.CrossOriginProtection
	next     http.Handler
}

func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := Of(r.Context())
	c := credentialOf(r.Header, q.mount.Credentials)
	if c.token == "" || len(c.token) > maxToken {
		g.next.ServeHTTP(w, r)
		return
	}
	if c.cookie {
		if err := g.sameOrigin(q.mount, r); err != nil {
			q.mount.Fail(w, r, errForeign.Wrap(err))
			return
		}
	}
	s, ok, err := g.sessions.Find(r.Context(), c.token)
	if err != nil {
		q.mount.Fail(w, r, err)
		return
	}
	if ok {
		q.Identity, q.Account = s.Identity, s.AccountID
		q.Renew = func(ctx context.Context, stale string) (string, error) {
			s, ok, err := g.sessions.Renew(ctx, c.token, stale)
			if err == nil && !ok {
				err = identity.ErrInvalid
			}
			return s.Identity, err
		}
	}
	g.next.ServeHTTP(w, r)
}

// sameOrigin refuses a request that a browser sent on behalf of another site, if the request may change something.
func (g *guard) sameOrigin(m *Mount, r *http.Request) error {
	if (r.Method == http.MethodGet || r.Method == http.MethodHead) && m.acts(r.Method, r.URL.Path) {
		as := *r
		as.Method = http.MethodPost // the methods that only read are not held to an origin
		return g.origin.Check(&as)
	}
	return g.origin.Check(r)
}
