// Package keypage is the page that a one-time link opens in a browser, with a button that logs in. Opening the page
// has no effect, because programs that check links in mail open it too.
package keypage

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/rpc"

	"slipway.dev/gateway/internal/edge"
	"slipway.dev/gateway/internal/ispsystem"
)

// Config is how browsers reach the page and where they go next.
type Config struct {
	// Secure: browsers come by HTTPS.
	Secure bool
	// Panel is where browsers are redirected after the login; empty for a page that names the account.
	Panel string
}

// paths are the prefixes before a key.
var paths = []string{"/auth/key/", "/auth/key-v4/"}

// Routes declares to the edge that the paths end in a credential.
func Routes() []edge.Route {
	var all []edge.Route
	for _, p := range paths {
		all = append(all, edge.Route{Method: http.MethodGet, Path: p + "{key}", Secret: "key"})
	}
	return all
}

type handler struct {
	Config
	policy   string
	keys     authpb.KeyServiceClient
	tokens   authpb.TokenServiceClient
	sessions *edge.Sessions
	origin   *http.CrossOriginProtection
	next     http.Handler
}

// Handler serves its own paths and leaves all others to next. Paths come in the spelling of the edge.
func Handler(cfg Config, auth grpc.ClientConnInterface, sessions *edge.Sessions, next http.Handler) (http.Handler, error) {
	panel := ""
	if cfg.Panel != "" {
		u, err := url.Parse(cfg.Panel)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil {
			return nil, fmt.Errorf("the panel's URL %q is not like https://panel.example.com/", cfg.Panel)
		}
		panel = u.Scheme + "://" + u.Host
	}
	return &handler{
		Config: cfg, policy: policy(panel), keys: authpb.NewKeyServiceClient(auth), tokens: authpb.NewTokenServiceClient(auth),
		sessions: sessions, origin: http.NewCrossOriginProtection(), next: next,
	}, nil
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key, ours := keyIn(r.URL.Path)
	switch {
	case ours && (r.Method == http.MethodGet || r.Method == http.MethodHead):
		h.offer(w, r)
	case ours && r.Method == http.MethodPost:
		h.redeem(w, r, key)
	default:
		h.next.ServeHTTP(w, r)
	}
}

func keyIn(path string) (key string, ok bool) {
	for _, p := range paths {
		if key, ok := strings.CutPrefix(path, p); ok {
			return key, key != "" && !strings.Contains(key, "/")
		}
	}
	return "", false
}

// offer shows the button. The form sends back a proof, which is also in a cookie that no other site can read or set.
func (h *handler) offer(w http.ResponseWriter, r *http.Request) {
	proof := rand.Text()
	if c, err := r.Cookie(h.proofCookie()); err == nil && len(c.Value) == len(proof) {
		proof = c.Value // of another tab, which must keep working
	}
	h.setCookie(w, h.proofCookie(), proof, http.SameSiteStrictMode)
	h.show(w, http.StatusOK, page{
		Title: "Log in", Text: []string{"You were given this link to log in without a password. It works once."}, Proof: proof,
	})
}

func (h *handler) redeem(w http.ResponseWriter, r *http.Request, key string) {
	if err := h.pressedHere(r); err != nil {
		edge.Of(r.Context()).Reason = fault.Denied.Reason
		h.show(w, http.StatusForbidden, pageForeign)
		return
	}
	q := edge.Of(r.Context())
	ctx := metadata.AppendToOutgoingContext(r.Context(), rpc.RequestIDKey, q.ID, rpc.ClientIPKey, q.Client, rpc.UserAgentKey, q.UserAgent)
	s, err := h.keys.RedeemKey(ctx, &authpb.RedeemKeyRequest{Key: key})
	if err != nil {
		h.refuse(w, q, err)
		return
	}
	h.setCookie(w, ispsystem.SessionCookie, s.GetToken(), http.SameSiteLaxMode)
	h.setCookie(w, h.proofCookie(), "", http.SameSiteStrictMode)
	for _, name := range ispsystem.StaleCookies() {
		h.setCookie(w, name, "", http.SameSiteLaxMode)
	}
	if h.Panel != "" {
		w.Header().Set("Location", h.Panel)
		w.WriteHeader(http.StatusSeeOther)
		return
	}
	h.show(w, http.StatusOK, h.welcome(ctx, q, s.GetToken()))
}

// pressedHere refuses a form of another site, which would log its victim in to another account. This page forbids
// referrers, so browsers send the Origin "null"; if they send no Sec-Fetch-Site either, only the proof decides.
func (h *handler) pressedHere(r *http.Request) error {
	if r.Header.Get("Origin") != "null" || r.Header.Get("Sec-Fetch-Site") != "" {
		if err := h.origin.Check(r); err != nil {
			return err
		}
	}
	c, err := r.Cookie(h.proofCookie())
	if err != nil {
		return err
	}
	if err := r.ParseForm(); err != nil {
		return err
	}
	if c.Value == "" || subtle.ConstantTimeCompare([]byte(c.Value), []byte(r.PostForm.Get("proof"))) != 1 {
		return fault.Denied
	}
	return nil
}

func (h *handler) refuse(w http.ResponseWriter, q *edge.Request, err error) {
	f, ok := fault.From(err)
	if !ok {
		f = fault.Internal.Wrap(err)
	}
	q.Reason = f.Reason
	switch f.Code {
	case codes.Unauthenticated, codes.InvalidArgument, codes.NotFound:
		h.show(w, http.StatusForbidden, pageRefused)
	case codes.Unavailable, codes.ResourceExhausted, codes.Canceled, codes.DeadlineExceeded:
		q.Err = err
		w.Header().Set("Retry-After", "1")
		h.show(w, http.StatusServiceUnavailable, pageLater)
	default:
		q.Err = err
		h.show(w, http.StatusInternalServerError, pageBroken)
	}
}

// welcome shows the account and the end of the session. It is optional: the session exists without it.
func (h *handler) welcome(ctx context.Context, q *edge.Request, token string) page {
	p := page{Title: "You are logged in"}
	s, ok, err := h.sessions.Find(ctx, token)
	if err != nil || !ok {
		q.Err = err
		return p
	}
	q.Account = s.AccountID
	ctx = metadata.AppendToOutgoingContext(ctx, identity.MetadataKey, s.Identity("auth"))
	me, err := h.tokens.Whoami(ctx, &authpb.WhoamiRequest{})
	if err != nil {
		q.Err = err
		return p
	}
	session, err := h.tokens.GetSelfSession(ctx, &authpb.GetSelfSessionRequest{})
	if err != nil {
		q.Err = err
		return p
	}
	p.Text = []string{
		"You are " + me.GetEmail() + ".", "Left alone, the session ends at " + session.GetValidUntil().GetValue() + " UTC.",
	}
	return p
}

// proofCookie returns the cookie's name. With HTTPS it has a prefix that makes browsers accept it only from this
// host.
func (h *handler) proofCookie() string {
	if h.Secure {
		return "__Host-slipway-key"
	}
	return "slipway-key"
}

// setCookie sets a cookie for the browser session; "" deletes it.
func (h *handler) setCookie(w http.ResponseWriter, name, value string, site http.SameSite) {
	c := &http.Cookie{Name: name, Value: value, Path: "/", HttpOnly: true, Secure: h.Secure, SameSite: site}
	if value == "" {
		c.MaxAge = -1
	}
	http.SetCookie(w, c)
}
