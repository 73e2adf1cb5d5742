package gateway_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"

	"slipway.dev/proto/all"

	"slipway.dev/pkg/rpc"

	"slipway.dev/gateway"
	"slipway.dev/gateway/internal/ispsystem"
	"slipway.dev/gateway/internal/rest"
	"slipway.dev/gateway/internal/rest/openapi"
	"slipway.dev/gateway/internal/toy"
)

// newToys makes a gateway that speaks two dialects.
func newToys(t *testing.T, log *slog.Logger) *stack {
	t.Helper()
	s, conns := newServices(t)
	var err error
	if s.Gateway, err = gateway.Speaking([]rest.Dialect{ispsystem.Dialect(), toy.Dialect()}, gateway.Config{}, conns, log); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestSecondDialect: what differs between dialects differs by path, down to the refusals of the edge.
func TestSecondDialect(t *testing.T) {
	t.Parallel()
	s := newToys(t, slog.New(slog.DiscardHandler))
	h := s.Handler()
	const key = "X-Toy-Key: user"
	for what, tt := range map[string]struct {
		lines []string
		code  int
		want  string
	}{
		"an answer":           {[]string{"GET /toy/v1/machines/21", key}, 200, `{"machineId":"21","madeOf":null,"parent":{"machineId":"1152921504606846976","madeOf":null,"parent":null}}`},
		"a cookie of its own": {[]string{"GET /toy/v1/machines/21", "Cookie: toy=user"}, 200, `{"machineId":"21"`},
		"foreign credential":  {[]string{"GET /toy/v1/machines/21", "x-xsrf-token: user"}, 418, "toy error UNAUTHENTICATED"},
		"its key elsewhere":   {[]string{"GET /vm/v3/host/21", key}, 401, `{"error":{"code":1000,`},
		"the other dialect":   {[]string{"GET /vm/v3/host/404", "x-xsrf-token: user"}, 404, `{"error":{"code":3080,`},
		"no object":           {[]string{"GET /toy/v1/machines/404", key}, 418, "toy error NOT_FOUND"},
		"no path":             {[]string{"GET /toy/v1/nothing", key}, 418, "toy error NO_HANDLER"},
		"no path at all":      {[]string{"GET /toy", key}, 418, "toy error NO_HANDLER"},
		"no method":           {[]string{"DELETE /toy/v1/machines/1", key}, 418, "toy error NO_METHOD"},
		"no alias":            {[]string{"GET /api/toy/v1/machines/21", key}, 404, `{"error":{"code":1106,`},
		"a panic":             {[]string{"GET /toy/v1/machines/13", key}, 418, "toy error INTERNAL"},
		"a large body":        {[]string{"PUT /toy/v1/machines/a", key, "", `{"x":"` + strings.Repeat("a", 1000) + `"}`}, 418, "toy error BODY_TOO_LARGE"},
		"a long address":      {[]string{"GET /toy/v1/machines/1?x=" + strings.Repeat("a", 500), key}, 418, "toy error URL_TOO_LONG"},
		"many parameters":     {[]string{"GET /toy/v1/machines/1?" + strings.Repeat("&a", 240) + strings.Repeat("&", 20), key}, 418, "toy error URL_TOO_LONG"},
		"many, elsewhere":     {[]string{"GET /vm/v3/host?" + strings.Repeat("fields&", 256) + "where=id+EQ+1", "x-xsrf-token: user"}, 400, "more than 256 parameters"},
		"an upload":           {[]string{"POST /toy/v1/upload", key, "", strings.Repeat("a", 4000)}, 200, "4000 bytes"},
		"too large an upload": {[]string{"POST /toy/v1/upload", key, "", strings.Repeat("a", 6000)}, 418, "toy error BODY_TOO_LARGE"},
		"a stream":            {[]string{"GET /toy/v1/events", key}, 200, "limited false, <nil>"},
		"fields of all kinds": {
			[]string{
				"PUT /toy/v1/machines/a?x=1", key, "", `{"diskBytes":"9007199254740993","state":"STATE_ON","createdAt":"2030-01-31T12:00:00Z","labels":{"b":2,"a":1},` +
					`"digest":"AQI=","clusterId":7,"internalNote":"canary","unknown":1}`,
			},
			202,
			`{"machineId":"21","madeOf":{"name":"a","diskBytes":"9007199254740993","state":"STATE_ON","createdAt":"2030-01-31T12:00:00Z","labels":{"a":1,"b":2},"digest":"AQI=","clusterId":7},"parent":null}`,
		},
		"no such state":   {[]string{"PUT /toy/v1/machines/a", key, "", `{"state":"OFF"}`}, 418, "toy error INVALID_ARGUMENT"},
		"no time":         {[]string{"PUT /toy/v1/machines/a", key, "", `{"createdAt":"yesterday"}`}, 418, "toy error INVALID_ARGUMENT"},
		"no base64":       {[]string{"PUT /toy/v1/machines/a", key, "", `{"digest":"?"}`}, 418, "toy error INVALID_ARGUMENT"},
		"no map":          {[]string{"PUT /toy/v1/machines/a", key, "", `{"labels":{"a":"b"}}`}, 418, "toy error INVALID_ARGUMENT"},
		"two of a oneof":  {[]string{"PUT /toy/v1/machines/a", key, "", `{"nodeName":"n","clusterId":1}`}, 418, "toy error INVALID_ARGUMENT"},
		"too large an id": {[]string{"GET /toy/v1/machines/9223372036854775808", key}, 418, "toy error INVALID_ARGUMENT"},
	} {
		rec := send(t, h, tt.lines...)
		if reason, ok := s.ReadError(strings.Fields(tt.lines[0])[1], rec.Body.Bytes()); ok != (rec.Code >= 400) || ok && reason == "" {
			t.Errorf("%s: read as %q %v", what, reason, ok)
		}
		if rec.Code != tt.code || !strings.HasPrefix(rec.Body.String(), tt.want) && !strings.Contains(tt.want, "parameters") ||
			!strings.Contains(rec.Body.String(), tt.want) {
			t.Errorf("%s: %d %s, want %s", what, rec.Code, rec.Body, tt.want)
		}
	}
}

// TestGetThatActs is held to the same origin by cookie, and its secret is not logged.
func TestGetThatActs(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	h := newToys(t, slog.New(slog.NewJSONHandler(&log, nil))).Handler()
	for line, want := range map[string]int{
		"Sec-Fetch-Site: cross-site": 418, "Origin: https://evil.example.com": 418, "Sec-Fetch-Site: same-origin": 200, "Accept: */*": 200,
	} {
		for _, method := range []string{"GET", "HEAD"} {
			log.Reset()
			rec := send(t, h, method+" /toy/v1/links/canary", "Cookie: toy=user", line)
			if rec.Code != want || strings.Contains(log.String(), "canary") || !strings.Contains(log.String(), `"/toy/v1/links/***"`) {
				t.Errorf("%s with %s: %d, logged %s", method, line, rec.Code, log.String())
			}
		}
	}
	if rec := send(t, h, "GET /toy/v1/machines/1", "Cookie: toy=user", "Sec-Fetch-Site: cross-site"); rec.Code != 200 {
		t.Errorf("a GET that only reads: %d", rec.Code)
	}
	if rec := send(t, h, "GET /toy/v1/links/x", "X-Toy-Key: reader"); rec.Code != 418 || !strings.Contains(rec.Body.String(), "PERMISSION_DENIED") {
		t.Errorf("a read-only administrator: %d %s", rec.Code, rec.Body)
	}
}

// TestListenerOfADialect: there every path is the dialect's.
func TestListenerOfADialect(t *testing.T) {
	t.Parallel()
	s := newToys(t, slog.New(slog.DiscardHandler))
	srv, err := s.ServerOf("toy", ":1")
	if err != nil || srv.Addr != ":1" || srv.WriteTimeout < time.Second {
		t.Fatalf("%v %v", srv, err)
	}
	for _, line := range []string{"GET /vm/v3/host", "GET /healthz", "GET /"} {
		if rec := send(t, srv.Handler, line); rec.Code != 418 {
			t.Errorf("%s: %d %s", line, rec.Code, rec.Body)
		}
	}
	if rec := send(t, srv.Handler, "GET /toy/v1/machines/1", "X-Toy-Key: user"); rec.Code != 200 {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	if _, err := s.ServerOf("none", ":1"); err == nil {
		t.Error("a server of no dialect")
	}
}

// TestRepeatOfAPut: the key goes with every method whose core rpc declares what a repeat does.
func TestRepeatOfAPut(t *testing.T) {
	t.Parallel()
	var keys []string
	c := answering(func(_ string, md metadata.MD) { keys = md.Get(rpc.IdemKey) })
	gw, err := gateway.Speaking([]rest.Dialect{ispsystem.Dialect(), toy.Dialect()}, gateway.Config{}, gateway.Conns{"auth": c, "vm": c, "ip": c}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if rec := send(t, gw.Handler(), "PUT /toy/v1/machines/a", "X-Toy-Key: any", "Idempotency-Key: k1", "", "{}"); rec.Code != 202 || len(keys) != 1 || keys[0] != "k1" {
		t.Errorf("%d %v", rec.Code, keys)
	}
	if rec := send(t, gw.Handler(), "PUT /toy/v1/machines/a", "X-Toy-Key: any", "Idempotency-Key:", "", "{}"); rec.Code != 418 {
		t.Errorf("an empty key: %d", rec.Code)
	}
	if rec := send(t, gw.Handler(), "GET /toy/v1/machines/1", "X-Toy-Key: any", "Idempotency-Key: k1"); rec.Code != 200 || keys != nil {
		t.Errorf("a GET: %d %v", rec.Code, keys)
	}
}

// TestStartRefuses: what the kit cannot serve is found when the gateway starts.
func TestStartRefuses(t *testing.T) {
	t.Parallel()
	_, conns := newServices(t)
	lonely := toy.Dialect()
	lonely.Serve = nil
	unknown := toy.Dialect()
	unknown.Name = "unknown"
	listless := ispsystem.Dialect()
	listless.Page = nil
	for what, d := range map[string]rest.Dialect{"no service": lonely, "no routes": unknown, "no lists": listless} {
		if _, err := rest.New(d, all.Files(), conns); err == nil {
			t.Errorf("%s: it started", what)
		}
	}
	text, err := openapi.Build(toy.Dialect(), toy.Dialect().Files)
	if err != nil || !bytes.Contains(text, []byte(`"madeOf"`)) || !bytes.Contains(text, []byte(`"STATE_ON"`)) || bytes.Contains(text, []byte("internal")) {
		t.Errorf("%v %s", err, text)
	}
}

// impatient is a server whose own deadline for an answer is over before the answer begins.
func impatient(t *testing.T, log *slog.Logger) *httptest.Server {
	t.Helper()
	ts := httptest.NewUnstartedServer(nil)
	ts.Config = newToys(t, log).Server("")
	ts.Config.WriteTimeout = time.Nanosecond
	ts.Start()
	t.Cleanup(ts.Close)
	return ts
}

// TestDeadlinesOfARoute: on the wire, a route with limits of its own replaces the server's deadlines.
func TestDeadlinesOfARoute(t *testing.T) {
	t.Parallel()
	ts := impatient(t, slog.New(slog.DiscardHandler))
	get := func(path string) string {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, ts.URL+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Toy-Key", "user")
		resp, err := ts.Client().Do(r)
		if err != nil {
			return ""
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return fmt.Sprintf("%d %s", resp.StatusCode, body)
	}
	for path, want := range map[string]string{
		"/toy/v1/machines/1": "", // too late
		"/toy/v1/events":     "200 limited false, <nil>",
		"/toy/v1/wait":       `200 {"machineId":"90",`,
	} {
		if got := get(path); !strings.HasPrefix(got, want) || want == "" && got != "" {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

// TestUpgrade: a handler of the dialect takes over the connection, which has no deadline then. A page of another site cannot
// make a browser open one with its cookie.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	log := make(logLines, 10)
	ts := impatient(t, slog.New(slog.NewJSONHandler(log, nil)))
	open := func(machine string, headers ...string) (net.Conn, *bufio.Reader, *http.Response) {
		var d net.Dialer
		conn, err := d.DialContext(t.Context(), "tcp", ts.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		_, err = fmt.Fprintf(conn, "GET /toy/v1/machines/%s/console HTTP/1.1\r\nHost: panel.test\r\n%s\r\n\r\n", machine, strings.Join(headers, "\r\n"))
		if err != nil {
			t.Fatal(err)
		}
		in := bufio.NewReader(conn)
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = resp.Body.Close() })
		return conn, in, resp
	}
	upgrade := []string{"Connection: Upgrade", "Upgrade: websocket", "Cookie: toy=user"}
	conn, in, resp := open("21", append(upgrade, "Origin: http://panel.test")...)
	if resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(resp.Status)
	}
	for _, line := range []string{"one\n", "two\n"} {
		_, _ = io.WriteString(conn, line)
		if got, err := in.ReadString('\n'); got != line {
			t.Errorf("%q, %v, want %q", got, err, line)
		}
	}
	_ = conn.Close()
	if line := <-log; !strings.Contains(line, `"status":101`) {
		t.Errorf("logged %s", line)
	}
	for what, tt := range map[string][]string{
		"a foreign page": append([]string{"21", "Origin: https://evil.example.com"}, upgrade...),
		"no credential":  {"21", upgrade[0], upgrade[1]},
		"no machine":     append([]string{"404"}, upgrade...),
		"no upgrade":     {"21", "X-Toy-Key: user"},
	} {
		if _, _, resp := open(tt[0], tt[1:]...); resp.StatusCode != http.StatusTeapot {
			t.Errorf("%s: %s", what, resp.Status)
		}
	}
}

// logLines is a log that a test reads line by line.
type logLines chan string

// Write implements io.Writer.
func (l logLines) Write(p []byte) (int, error) {
	l <- string(p)
	return len(p), nil
}
