package edge

import (
	"context"
	"net/http"
	"strings"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
)

// maxToken bounds a credential: what is longer is none.
const maxToken = 1024

// credential is a token as a client sent it.
type credential struct {
	token string
	// cookie: a browser may have sent it without anybody having asked for it.
	cookie bool
}

// headers and cookies that carry a token, in the order in which they count. http.Header knows them by these spellings.
var (
	tokenHeaders = []string{"X-Xsrf-Token", "Authorization", "X-Auth-Token", "Ses6", "Isp-Session"}
	tokenCookies = []string{"ses6", "x-xsrf-token", "token"}
)

func credentialOf(h http.Header) credential {
	for _, name := range tokenHeaders {
		v := h[name]
		if len(v) == 0 {
			continue
		}
		text := strings.TrimSpace(v[0])
		if name == "Authorization" {
			text = bearer(text)
		}
		if text != "" {
			return credential{token: text}
		}
	}
	if len(h["Cookie"]) == 0 {
		return credential{}
	}
	r := http.Request{Header: h}
	for _, name := range tokenCookies {
		for _, c := range r.CookiesNamed(name) {
			if c.Value != "" {
				return credential{token: c.Value, cookie: true}
			}
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

// Guard finds out who asks before next does. A token that is unknown or over counts as none: what the caller may do
// then, the service decides.
func Guard(sessions *Sessions, fail func(http.ResponseWriter, *http.Request, error), next http.Handler) http.Handler {
	origin := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := credentialOf(r.Header)
		if c.token == "" || len(c.token) > maxToken {
			next.ServeHTTP(w, r)
			return
		}
		if c.cookie {
			if err := origin.Check(r); err != nil {
				fail(w, r, fault.Denied.With("requests from pages of another site are not allowed").Wrap(err))
				return
			}
		}
		s, ok, err := sessions.Find(r.Context(), c.token)
		if err != nil {
			fail(w, r, err)
			return
		}
		if ok {
			q := Of(r.Context())
			q.Identity, q.Account = s.Identity, s.AccountID
			q.Renew = func(ctx context.Context) error {
				s, ok, err := sessions.Find(ctx, c.token)
				if err == nil && !ok {
					err = identity.ErrInvalid
				}
				q.Identity = s.Identity
				return err
			}
		}
		next.ServeHTTP(w, r)
	})
}
