package edge

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"slipway.dev/pkg/identity"
)

const (
	// maxToken is the greatest length of a credential; a longer one is ignored.
	maxToken = 1024
	// maxCookies is the greatest number of cookies of one name that are tried.
	maxCookies = 4
)

// credential is a token as a client sent it.
type credential struct {
	token string
	// others are the values of further cookies of the same name: a browser sends those of other paths and domains too.
	others []string
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

// credentialOf returns the first token that a request has in the places of a dialect. It ignores what is too long for a token.
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
			if c := cookieOf(r.CookiesNamed(p.Cookie)); c.token != "" {
				return c
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
		if text != "" && len(text) <= maxToken {
			return credential{token: text}
		}
	}
	return credential{}
}

// cookieOf returns the token in cookies of one name.
func cookieOf(cookies []*http.Cookie) credential {
	c := credential{cookie: true}
	for _, k := range cookies {
		switch {
		case k.Value == "" || len(k.Value) > maxToken:
		case c.token == "":
			c.token = k.Value
		case k.Value != c.token && len(c.others) < maxCookies-1 && !slices.Contains(c.others, k.Value):
			c.others = append(c.others, k.Value)
		}
	}
	return c
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
	if c.token == "" {
		g.next.ServeHTTP(w, r)
		return
	}
	if c.cookie {
		if err := g.sameOrigin(q.mount, r); err != nil {
			q.mount.Fail(w, r, errForeign.Wrap(err))
			return
		}
	}
	s, token, ok, err := g.find(r.Context(), c)
	if err != nil {
		q.mount.Fail(w, r, err)
		return
	}
	if ok {
		q.Session, q.Known, q.Account = s, true, s.AccountID
		q.Renew = func(ctx context.Context, stale string) (Session, error) {
			s, ok, err := g.sessions.Renew(ctx, token, stale)
			if err == nil && !ok {
				err = identity.ErrInvalid
			}
			return s, err
		}
	}
	g.next.ServeHTTP(w, r)
}

// find returns the session of a credential, and its token. Of several cookies of one name the first with a session counts; those
// of which the gateway knows a session are tried first, so that a stale cookie does not count as a guess with every request.
func (g *guard) find(ctx context.Context, c credential) (s Session, token string, ok bool, err error) {
	if len(c.others) == 0 {
		s, ok, err = g.sessions.Find(ctx, c.token)
		return s, c.token, ok, err
	}
	tokens := append([]string{c.token}, c.others...)
	slices.SortStableFunc(tokens, func(a, b string) int {
		return g.sessions.rank(ctx, a) - g.sessions.rank(ctx, b)
	})
	for _, token = range tokens {
		if s, ok, err = g.sessions.Find(ctx, token); ok || err != nil {
			return s, token, ok, err
		}
	}
	return s, token, false, nil
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
