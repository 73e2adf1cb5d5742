package gateway_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"

	"slipway.dev/gateway"
)

// TestCookieOfABrowser: a request that a page of another site makes a browser send is refused. Requests of programs, and those
// with the token in a header, are not (S11).
func TestCookieOfABrowser(t *testing.T) {
	t.Parallel()
	called := false
	h := recorded(t, func(string, metadata.MD) { called = true })
	foreign := []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site", "Origin: https://evil.example.com", "Origin: null"}
	own := []string{"Accept: */*", "Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: none", "Origin: https://panel.example.com"}
	for _, r := range routes() {
		line := r.Method + " " + variable.ReplaceAllString(r.Path, "7")
		for _, cookie := range []string{"Cookie: ses6=any", "Cookie: token=any", "Cookie: x-xsrf-token=any"} {
			for _, f := range foreign {
				called = false
				rec := send(t, h, line, cookie, f, "Content-Type: text/plain", "", "{}")
				refused := rec.Code == 403 && strings.HasPrefix(rec.Body.String(), `{"error":{"code":3001,`)
				if mutates := r.Method != http.MethodGet; refused != mutates || called == mutates {
					t.Errorf("%s with %s, %s: %d %s", line, cookie, f, rec.Code, rec.Body)
				}
			}
			for _, f := range own {
				if rec := send(t, h, line, cookie, f); rec.Code != r.Status() {
					t.Errorf("%s with %s, %s: %d", line, cookie, f, rec.Code)
				}
			}
		}
		if rec := send(t, h, line, "x-xsrf-token: any", "Cookie: ses6=any", foreign[0]); rec.Code != r.Status() {
			t.Errorf("%s with header: %d", line, rec.Code)
		}
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	s := newQuietStack(t)
	big := `{"name":"` + strings.Repeat("a", 1<<20) + `"}`
	for name, tt := range map[string]struct {
		lines []string
		code  int
		text  string
	}{
		"body":          {[]string{"POST /vm/v3/host", "x-xsrf-token: admin", "", big}, 413, `"code":90010`},
		"url":           {[]string{"GET /vm/v3/host?where=" + strings.Repeat("a", 17<<10), "x-xsrf-token: admin"}, 414, `"code":90011`},
		"depth":         {[]string{"POST /vm/v3/host", "x-xsrf-token: admin", "", `{"x":` + strings.Repeat("[", 500_000)}, 400, "nested deeper than 32"},
		"depth, known":  {[]string{"POST /vm/v3/host", "x-xsrf-token: admin", "", `{"disks":[` + strings.Repeat(`{"x":`, 100)}, 400, "nested deeper than 32"},
		"token":         {[]string{"GET /vm/v3/host", "x-xsrf-token: " + strings.Repeat("a", 5000)}, 401, `"code":1000`},
		"brackets":      {[]string{"GET /vm/v3/host?where=" + strings.Repeat("(", 16000), "x-xsrf-token: admin"}, 400, "nested deeper than 32"},
		"zero byte":     {[]string{"POST /vm/v3/host", "x-xsrf-token: admin", "", `{"name":"a\u0000b"}`}, 400, "zero byte"},
		"zero in where": {[]string{"GET /vm/v3/host?where=a+EQ+'%00'", "x-xsrf-token: admin"}, 400, "zero bytes"},
	} {
		rec := send(t, s.Handler(), tt.lines...)
		if rec.Code != tt.code || !strings.Contains(rec.Body.String(), tt.text) || !strings.HasPrefix(rec.Body.String(), `{"error":`) {
			t.Errorf("%s: %d %s", name, rec.Code, rec.Body)
		}
	}
	if n := s.auth.asked.Load(); n != 1 {
		t.Errorf("auth was asked %d times: too long a token is none", n)
	}
}

func TestHeadersOfAnAnswer(t *testing.T) {
	t.Parallel()
	s := newStack(t, gateway.Config{Secure: true}, slog.New(slog.DiscardHandler))
	for _, line := range []string{"GET /vm/v3/host/1", "GET /vm/v3/none", "GET /vm/v3/host/1/console", "GET /healthz"} {
		rec := send(t, s.Handler(), line, "x-xsrf-token: user", "X-Request-Id: my-id")
		for k, want := range map[string]string{
			"X-Request-Id": "my-id", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer",
			"Strict-Transport-Security": "max-age=31536000", "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
			"Access-Control-Allow-Origin": "",
		} {
			if got := rec.Header().Get(k); got != want {
				t.Errorf("%s: %s is %q", line, k, got)
			}
		}
	}
}

// TestRevocation: a session that ends is refused at the next request, though it was used a moment ago (S10).
func TestRevocation(t *testing.T) {
	t.Parallel()
	for name, revoke := range map[string]func(*gateway.Gateway){
		"session": func(g *gateway.Gateway) { g.Revoke(40, 4) },
		"account": func(g *gateway.Gateway) { g.Revoke(0, 4) },
		"gap":     func(g *gateway.Gateway) { g.ForgetAll() },
	} {
		s := newQuietStack(t)
		status := func() int { return send(t, s.Handler(), "GET /vm/v3/host/1", "x-xsrf-token: user").Code }
		if got := status(); got != 200 {
			t.Fatalf("%s: %d before", name, got)
		}
		s.auth.gone.Store(true)
		if got := status(); got != 200 || s.auth.asked.Load() != 1 {
			t.Errorf("%s: %d, asked %d times: the session is not remembered", name, got, s.auth.asked.Load())
		}
		revoke(s.Gateway)
		if got := status(); got != 401 {
			t.Errorf("%s: %d after", name, got)
		}
	}
}

// TestLog: one line for a request, with what happened and nothing that is secret (S29).
func TestLog(t *testing.T) {
	t.Parallel()
	var buf bytes.Buffer
	s := newStack(t, gateway.Config{}, slog.New(slog.NewJSONHandler(&buf, &slog.HandlerOptions{Level: slog.LevelDebug})))
	for _, tt := range []struct {
		lines []string
		want  []string
	}{
		{
			[]string{"POST /api/vm/v3/host/", "x-xsrf-token: user", "X-Request-Id: r1", "", `{"name":"mein","password":"canary-1","vxlans":[],"a b\n":{"x":1},"disks":[{"shapes":[]}]}`},
			[]string{
				`"level":"INFO"`, `"method":"POST","path":"/vm/v3/host","status":200`, `"request":"r1","client":"203.0.113.7","account":4`,
				`"ignored":"\"vxlans\" \"a b\\n\" \"disks[0].shapes\""`, `"bytes":`, `"took":`,
			},
		},
		{
			[]string{"DELETE /auth/v4/token/canary-token", "Cookie: ses6=canary-2; token=canary-3"},
			[]string{`"path":"/auth/v4/token/***","status":401`, `"account":0`, `"reason":"UNAUTHENTICATED"`},
		},
		{[]string{"GET /auth/key/canary-4?key=canary-5", "Authorization: Bearer canary-6"}, []string{`"path":"/auth/key/***","status":200`}},
		{
			[]string{"POST /api/auth/key-v4/canary-9/", "Cookie: slipway-key=canary-10", "Sec-Fetch-Site: cross-site"},
			[]string{`"path":"/auth/key-v4/***","status":403`, `"reason":"PERMISSION_DENIED"`},
		},
		{
			[]string{"POST /auth/key/canary-11", "Cookie: slipway-key=canary-12", "Content-Type: application/x-www-form-urlencoded", "", "proof=canary-12"},
			[]string{`"path":"/auth/key/***","status":403`, `"reason":"INVALID_KEY"`},
		},
		{
			[]string{"POST /auth/v4/public/token", "", `{"email":"a","password":["canary-7"]}`},
			[]string{`"status":400`, `"reason":"INVALID_ARGUMENT"`},
		},
		{[]string{"POST /auth/v4/public/token", "", `{"email":"a","password":canary-8}`}, []string{`"status":400`}},
		{[]string{"POST /vm/v3/host", "x-xsrf-token: user", "", `{"name":"boom"}`}, []string{`"level":"ERROR"`, `"status":500`, `"err":`}},
		{[]string{"GET /healthz"}, []string{`"level":"DEBUG"`}},
	} {
		buf.Reset()
		rec := send(t, s.Handler(), tt.lines...)
		line := buf.String()
		if strings.Count(line, "\n") != 1 || strings.Contains(line, "canary") {
			t.Errorf("%s: logged %s", tt.lines[0], line)
		}
		if strings.Contains(rec.Body.String(), "canary") {
			t.Errorf("%s: answered %s", tt.lines[0], rec.Body)
		}
		for _, w := range tt.want {
			if !strings.Contains(line, w) {
				t.Errorf("%s: no %s in %s", tt.lines[0], w, line)
			}
		}
	}
}

func TestReady(t *testing.T) {
	t.Parallel()
	var err error
	s := newStack(t, gateway.Config{Ready: []func(context.Context) error{func(context.Context) error { return err }}}, slog.New(slog.DiscardHandler))
	for _, tt := range []struct {
		err  error
		code int
		text string
	}{{nil, 200, `{"status":"ready"}`}, {errors.New("canary host 10.0.0.1"), 503, `{"status":"not ready"}`}} {
		err = tt.err
		if rec := send(t, s.Handler(), "GET /readyz"); rec.Code != tt.code || rec.Body.String() != tt.text {
			t.Errorf("%v: %d %s", tt.err, rec.Code, rec.Body)
		}
	}
}

// TestOnTheWire sends bytes that Go's own client would not.
func TestOnTheWire(t *testing.T) {
	t.Parallel()
	s := newQuietStack(t)
	ts := httptest.NewUnstartedServer(nil)
	ts.Config = s.Server("")
	ts.Start()
	t.Cleanup(ts.Close)
	for request, want := range map[string]string{
		"GET /vm/v3/host?where=((name+CP+'%web%')+OR+(id+EQ+\"x;y\")) HTTP/1.1\r\nHost: h\r\nx-xsrf-token: user\r\nConnection: close\r\n\r\n":                                      `where[(name CP '%web%' OR id EQ '\"x;y\"')]`,
		"GET /vm/v3/host?where=name+EQ+'b\xc3\xbcro' HTTP/1.1\r\nHost: h\r\nx-xsrf-token: user\r\nConnection: close\r\n\r\n":                                                       `where[name EQ 'büro']`,
		"GET /vm/v3/host?where=name+EQ+'\xff' HTTP/1.1\r\nHost: h\r\nx-xsrf-token: user\r\nConnection: close\r\n\r\n":                                                              `"code":90001`,
		"POST /vm/v3/host/1/start HTTP/1.0\r\nx-xsrf-token: user\r\n\r\n":                                                                                                          `{"id":1,"task":100024}`,
		"POST /vm/v3/host/1/stop HTTP/1.1\r\nHost: h\r\nx-xsrf-token: user\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\ne\r\n{\"force\":true}\r\n0\r\n\r\n":           `{"id":1,"task":2}`,
		"HEAD /vm/v3/host/1 HTTP/1.1\r\nHost: h\r\nx-xsrf-token: user\r\nConnection: close\r\n\r\n":                                                                                "Content-Type: application/json",
		"DELETE /auth/v4/token/4-a%20b%2Fc HTTP/1.1\r\nHost: h\r\nx-xsrf-token: user\r\nConnection: close\r\n\r\n":                                                                 `HTTP/1.1 200 OK`,
		"POST /vm/v3/host HTTP/1.1\r\nHost: h\r\nx-xsrf-token: user\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n200000\r\n" + strings.Repeat(" ", 0x200000) + "\r\n": `"code":90010`,
		"GET /vm/v3/host HTTP/1.1\r\nHost: h\r\nX: " + strings.Repeat("a", 64<<10) + "\r\n\r\n":                                                                                    "431",
	} {
		c, err := net.Dial("tcp", ts.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		_, _ = io.WriteString(c, request) // the server may hang up before it has read all
		reply, _ := io.ReadAll(bufio.NewReader(c))
		_ = c.Close()
		if !bytes.Contains(reply, []byte(want)) {
			t.Errorf("%.100q: %s, want %s", request, reply, want)
		}
	}
}

func TestNewNeedsAllConnections(t *testing.T) {
	t.Parallel()
	if _, err := gateway.New(gateway.Config{}, gateway.Conns{}, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a gateway to nowhere")
	}
	if srv := newQuietStack(t).Server(":1"); srv.Addr != ":1" || srv.ReadHeaderTimeout == 0 || srv.IdleTimeout == 0 || srv.WriteTimeout < 31*time.Second {
		t.Errorf("%+v", srv)
	}
}
