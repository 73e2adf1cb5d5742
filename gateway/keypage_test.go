package gateway_test

import (
	"crypto/sha256"
	"encoding/base64"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"slipway.dev/gateway"
)

var proofField = regexp.MustCompile(`name="proof" value="([A-Z2-7]{26})"`)

// press opens a link, checks that nothing but a page came of it, and presses its button. Extra headers are of the press.
func press(t *testing.T, h http.Handler, path string, extra ...string) *httptest.ResponseRecorder {
	t.Helper()
	offered := send(t, h, "GET "+path, "Cookie: ses6=visitor")
	m := proofField.FindStringSubmatch(offered.Body.String())
	cookies := offered.Result().Cookies()
	if offered.Code != 200 || m == nil || len(cookies) != 1 || cookies[0].Value != m[1] || cookies[0].SameSite != http.SameSiteStrictMode || !cookies[0].HttpOnly {
		t.Fatalf("%s: %d %v %s", path, offered.Code, cookies, offered.Body)
	}
	lines := append([]string{
		"POST " + path, "Content-Type: application/x-www-form-urlencoded", "Cookie: ses6=visitor; " + cookies[0].Name + "=" + cookies[0].Value,
	}, extra...)
	return send(t, h, append(lines, "", "proof="+m[1])...)
}

func TestKeyPage(t *testing.T) {
	t.Parallel()
	h := newQuietStack(t).Handler()
	for _, path := range []string{"/auth/key/4-key", "/auth/key-v4/4-key", "/api/auth/key/4-key", "/api/auth/key-v4/4-key/"} {
		for _, browser := range []string{"Accept: */*", "Sec-Fetch-Site: same-origin", "Origin: http://panel.example.com", "Origin: null"} {
			rec := press(t, h, path, browser)
			got := map[string]*http.Cookie{}
			for _, c := range rec.Result().Cookies() {
				got[c.Name] = c
			}
			s := got["ses6"]
			if rec.Code != 200 || s == nil || s.Value != "4-cafe" || !s.HttpOnly || s.Secure || s.Path != "/" || s.SameSite != http.SameSiteLaxMode {
				t.Fatalf("%s: %d %v %s", path, rec.Code, s, rec.Body)
			}
			for _, name := range []string{"x-xsrf-token", "token", "slipway-key"} {
				if c := got[name]; c == nil || c.MaxAge >= 0 || c.Value != "" {
					t.Errorf("%s stays: %v", name, c)
				}
			}
			if !strings.Contains(rec.Body.String(), "You are ") || !strings.Contains(rec.Body.String(), "2030-01-31 00:00:00 UTC") || strings.Contains(rec.Body.String(), "4-cafe") {
				t.Errorf("%s: %s", path, rec.Body)
			}
		}
	}
}

func TestKeyPageRefuses(t *testing.T) {
	t.Parallel()
	h := newQuietStack(t).Handler()
	for what, tt := range map[string]struct {
		rec  *httptest.ResponseRecorder
		code int
		text string
	}{
		"a used key":             {press(t, h, "/auth/key/4-used"), 403, "It has been used already, has expired"},
		"nonsense":               {press(t, h, "/auth/key/%3Cscript%3E"), 403, "It has been used already, has expired"},
		"auth is away":           {press(t, h, "/auth/key/4-later"), 503, "The link is still valid"},
		"another site":           {press(t, h, "/auth/key/4-key", "Sec-Fetch-Site: cross-site", "Origin: null"), 403, "not pressed on this page"},
		"a neighbour":            {press(t, h, "/auth/key/4-key", "Sec-Fetch-Site: same-site"), 403, "not pressed on this page"},
		"an old browser":         {press(t, h, "/auth/key/4-key", "Origin: https://evil.example.com"), 403, "not pressed on this page"},
		"no cookie":              {send(t, h, "POST /auth/key/4-key", "Content-Type: application/x-www-form-urlencoded", "", "proof=A"), 403, "not pressed on this page"},
		"no proof":               {send(t, h, "POST /auth/key/4-key", "Cookie: slipway-key=A"), 403, "not pressed on this page"},
		"an empty proof":         {send(t, h, "POST /auth/key/4-key", "Cookie: slipway-key="), 403, "not pressed on this page"},
		"a proof in the address": {send(t, h, "POST /auth/key/4-key?proof=A", "Cookie: slipway-key=A"), 403, "not pressed on this page"},
	} {
		if tt.rec.Code != tt.code || !strings.Contains(tt.rec.Body.String(), tt.text) || strings.Contains(tt.rec.Body.String(), "<script>") {
			t.Errorf("%s: %d %s", what, tt.rec.Code, tt.rec.Body)
		}
		if len(tt.rec.Header()["Set-Cookie"]) != 0 {
			t.Errorf("%s: cookies %v", what, tt.rec.Header()["Set-Cookie"])
		}
	}
	for _, line := range []string{"GET /auth/key/", "GET /auth/key/a/b", "DELETE /auth/key/4-key", "GET /auth/keys/4-key", "PUT /auth/key-v4/x"} {
		if rec := send(t, h, line); rec.Code != 404 || !strings.HasPrefix(rec.Body.String(), `{"error":`) {
			t.Errorf("%s: %d %s", line, rec.Code, rec.Body)
		}
	}
}

// TestKeyPageOfAPanel: people end where they belong, and the policy of the page lets browsers follow.
func TestKeyPageOfAPanel(t *testing.T) {
	t.Parallel()
	h := newStack(t, gateway.Config{Secure: true, PanelURL: "https://panel.example.com/start?x=1"}, slog.New(slog.DiscardHandler)).Handler()
	rec := press(t, h, "/auth/key/4-key", "Sec-Fetch-Site: same-origin")
	if rec.Code != http.StatusSeeOther || rec.Header().Get("Location") != "https://panel.example.com/start?x=1" {
		t.Errorf("%d %v", rec.Code, rec.Header())
	}
	for _, c := range rec.Result().Cookies() {
		if !c.Secure || !c.HttpOnly {
			t.Errorf("cookie %v", c)
		}
	}
	page := send(t, h, "GET /auth/key/4-key")
	if c := page.Result().Cookies()[0]; c.Name != "__Host-slipway-key" || !c.Secure || c.Path != "/" || c.Domain != "" {
		t.Errorf("cookie %v", c)
	}
	_, rest, _ := strings.Cut(page.Body.String(), "<style>")
	style, _, _ := strings.Cut(rest, "</style>")
	sum := sha256.Sum256([]byte(style))
	policy := page.Header().Get("Content-Security-Policy")
	for _, want := range []string{
		"default-src 'none';", "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'", "form-action 'self' https://panel.example.com", "frame-ancestors 'none'", "base-uri 'none'",
	} {
		if !strings.Contains(policy, want) {
			t.Errorf("no %s in %s", want, policy)
		}
	}
	for name, want := range map[string]string{
		"Referrer-Policy": "no-referrer", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Content-Type": "text/html; charset=utf-8",
	} {
		if got := page.Header().Get(name); got != want {
			t.Errorf("%s is %q", name, got)
		}
	}
	for _, bad := range []string{"panel.example.com", "javascript:alert(1)", "//panel.example.com", "https://u:p@panel.example.com/"} {
		if _, err := gateway.New(gateway.Config{PanelURL: bad}, gateway.Conns{"auth": conn(nil), "vm": conn(nil), "ip": conn(nil)}, slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("%s is taken for a panel", bad)
		}
	}
}
