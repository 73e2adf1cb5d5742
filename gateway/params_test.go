package gateway_test

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/gateway"
	"slipway.dev/gateway/internal/rest"
)

// TestParametersOfEveryRoute checks that a parameter that is given twice or has a malformed escape is refused in the shape of the
// dialect, whatever the route and whoever asks.
func TestParametersOfEveryRoute(t *testing.T) {
	t.Parallel()
	called := ""
	h := recorded(t, func(method string, _ metadata.MD) { called = method })
	for _, r := range routes() {
		path := variable.ReplaceAllString(r.Path, "7")
		for query, field := range map[string]string{
			"limit=1&limit=2": "limit", "limit=1&limit=1": "limit", "x=%zz": "x", "limit=%ff": "limit", "x=1&y=2&x=": "x", "%zz": "",
			"cursor=&cursor=1": "cursor", "count=0&count=1": "count", "id=1&id=2": "id", "orderby=%2": "orderby",
		} {
			for _, prefix := range []string{"", "/api"} {
				for _, token := range []string{"x-xsrf-token: admin", "X-None: 1"} {
					called = ""
					rec := send(t, h, r.Method+" "+prefix+path+"?"+query, token)
					want := `"reason":"INVALID_ARGUMENT"}}}`
					if field != "" {
						want = `"field":"` + field + `",` + want
					}
					if rec.Code != 400 || !strings.Contains(rec.Body.String(), want) || called != "" {
						t.Errorf("%s %s?%s: %d %s, then %s", r.Method, path, query, rec.Code, rec.Body, called)
					}
				}
			}
		}
		query, want := "?where=id+EQ+1&where=name+CP+'%25a%zz%25'&orderby=id&orderby=name&fields=&fields=&x=a;b%25", r.Status()
		if short(r) {
			want = http.StatusBadRequest
		}
		if rec := send(t, h, r.Method+" "+path+query, "x-xsrf-token: admin"); rec.Code != want {
			t.Errorf("%s %s: %d %s", r.Method, path, rec.Code, rec.Body)
		}
	}
}

// short reports whether a route answers a list that takes no conditions.
func short(r rest.Route) bool {
	return r.Method == http.MethodGet && !r.Lists() && r.RPC.Output().Fields().ByName("list") != nil
}

// TestShortLists: a list that is always answered whole takes limit and fields, and refuses what it cannot follow rather than
// answer other rows than were asked for.
func TestShortLists(t *testing.T) {
	t.Parallel()
	c := conn(func(ctx context.Context, method string, in, out any) error {
		switch out := out.(type) {
		case *authpb.ListScopesResponse:
			out.LastNotify, out.Size = 7, 3
			out.List = []*authpb.Scope{{Name: "a"}, {Name: "b"}, {Name: "c"}}
			return nil
		default:
			return answering(func(string, metadata.MD) {})(ctx, method, in, out)
		}
	})
	gw, err := gateway.New(gateway.Config{}, gateway.Conns{"auth": c, "vm": c, "ip": c}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for query, want := range map[string]string{
		"limit=1&fields=name":   `{"last_notify":7,"list":[{"name":"a"}],"size":3}`,
		"limit=1,1&fields=name": `{"last_notify":7,"list":[{"name":"b"}],"size":3}`,
		"limit=2,9&fields=name": `{"last_notify":7,"list":[{"name":"c"}],"size":3}`,
		"limit=3,9":             `{"last_notify":7,"list":[],"size":3}`,
		"limit=9,9":             `{"last_notify":7,"list":[],"size":3}`,
		"fields=name&limit=0&where=&orderby=&count=0&x=1": `{"last_notify":7,"list":[{"name":"a"},{"name":"b"},{"name":"c"}],"size":3}`,
	} {
		if w := get(t, gw.Handler(), "/auth/v4/scope?"+query, ""); w.Code != http.StatusOK || w.Body.String() != want {
			t.Errorf("%s: %d %s, want %s", query, w.Code, w.Body, want)
		}
	}
	lists := 0
	for _, r := range routes() {
		if !short(r) {
			continue
		}
		lists++
		path := variable.ReplaceAllString(r.Path, "7")
		for query, field := range map[string]string{
			"where=id+EQ+1": "where", "where=(": "where", "orderby=id": "orderby", "cursor=": "cursor", "explain=1": "explain",
			"limit=-1": "limit", "fields=nothing": "fields", "limit=1&where=id+EQ+1": "where",
		} {
			w := get(t, gw.Handler(), path+"?"+query, "")
			if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), `"field":"`+field+`"`) {
				t.Errorf("%s?%s: %d %s", path, query, w.Code, w.Body)
			}
		}
	}
	if lists < 5 {
		t.Errorf("only %d short lists", lists)
	}
}

// TestSeveralCookies checks that of several cookies of one name the one with a session counts, and that the others do not make
// the gateway ask auth with every request.
func TestSeveralCookies(t *testing.T) {
	t.Parallel()
	s := newStack(t, gateway.Config{SessionTTL: time.Hour}, slog.New(slog.DiscardHandler))
	whoami := func(cookies string) int {
		t.Helper()
		return send(t, s.Handler(), "GET /auth/v4/whoami", "Cookie: "+cookies).Code
	}
	for cookies, want := range map[string]int{
		"ses6=junk; ses6=user": 200, "ses6=user; ses6=junk": 200, "ses6=; ses6=user": 200, "ses6=junk; token=user": 401, "ses6=a; ses6=b": 401,
		"ses6=" + strings.Repeat("x", 2000) + "; ses6=user": 200, "ses6=a; ses6=b; ses6=c; ses6=d; ses6=user": 401,
		"token=junk; token=user": 200,
	} {
		if got := whoami(cookies); got != want {
			t.Errorf("%.60s: %d, want %d", cookies, got, want)
		}
	}
	s.auth.asked.Store(0)
	for i := range 50 {
		if got := whoami("ses6=stale" + strings.Repeat("x", i) + "; ses6=user"); got != 200 {
			t.Fatalf("request %d: %d", i, got)
		}
	}
	if n := s.auth.asked.Load(); n > 1 {
		t.Errorf("auth was asked %d times about a session that the gateway knows", n)
	}
	if rec := send(t, s.Handler(), "DELETE /vm/v3/host/1", "Cookie: ses6=junk; ses6=user", "Origin: https://evil.example.com"); rec.Code != http.StatusForbidden {
		t.Errorf("a page of another site: %d", rec.Code)
	}
}

// TestRateOfChanges checks that an account that changes too much gets 429, however its requests end, while it still reads, and
// other accounts go on.
func TestRateOfChanges(t *testing.T) {
	t.Parallel()
	s := newStack(t, gateway.Config{Changes: 1, AdminChanges: -1}, slog.New(slog.DiscardHandler))
	refused := 0
	for i := range 100 {
		line := []string{"POST /vm/v3/host/1/start", "POST /vm/v3/host/409/start", "DELETE /vm/v3/host/1", "POST /vm/v3/host"}[i%4]
		if rec := send(t, s.Handler(), line, "x-xsrf-token: user", "", `{"ram_mib":"x"}`); rec.Code == http.StatusTooManyRequests {
			refused++
			if rec.Header().Get("Retry-After") != "1" || !strings.Contains(rec.Body.String(), `"code":90006`) {
				t.Errorf("%v %s", rec.Header(), rec.Body)
			}
		}
	}
	if refused == 0 || refused > 80 {
		t.Errorf("%d of 100 changes were refused", refused)
	}
	if rec := send(t, s.Handler(), "GET /vm/v3/host/1", "x-xsrf-token: user"); rec.Code != http.StatusOK {
		t.Errorf("it reads: %d", rec.Code)
	}
	for range 200 {
		if rec := send(t, s.Handler(), "POST /vm/v3/host/1/start", "x-xsrf-token: admin"); rec.Code != http.StatusOK {
			t.Fatalf("another account: %d %s", rec.Code, rec.Body)
		}
	}
}
