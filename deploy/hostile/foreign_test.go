package hostile

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// nobodys is an id without an object.
const nobodys = "999999"

// sender sends a request as an account that owns nothing.
type sender func(method, path, body string) answer

// oracles asks for the objects of others and for those that are not there, on every route that a user may call, and lists
// where the answers differ: in status, number, or in anything but the id.
func oracles(targets map[string]string, send sender) (asked int, found []string) {
	for _, r := range routes() {
		foreign, ok := targets[r.noun()]
		if !ok || r.access.GetLevel() != levelUser || shared[r.noun()] {
			continue
		}
		answers := map[string]string{}
		for _, id := range []string{foreign, nobodys} {
			a := send(r.method, r.with(func(string) string { return id }), good(r))
			answers[id] = strings.ReplaceAll(fmt.Sprint(a.status, " ", a.text), id, "ID")
		}
		asked++
		if answers[foreign] != answers[nobodys] {
			found = append(found, fmt.Sprintf("%s %s: %s, and of nobody: %s", r.method, r.path, answers[foreign], answers[nobodys]))
		}
		if !strings.HasPrefix(answers[nobodys], "404") {
			found = append(found, fmt.Sprintf("%s %s of nobody: %s", r.method, r.path, answers[nobodys]))
		}
	}
	return asked, found
}

// shared are kinds of objects that belong to no account.
var shared = map[string]bool{"cluster": true, "os": true}

// good returns a body that is valid except for the object.
func good(r route) string {
	if !r.body {
		return ""
	}
	return "{" + strings.Join(needs[string(r.rpc.Name())], ",") + "}"
}

func TestForeignIsMissing(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	targets := s.targets()
	_, user := s.account("other@example.com", "@user", "other-password")
	send := func(method, path, body string) answer { return user.send(method, path, body) }
	asked, found := oracles(targets, send)
	if asked < 12 {
		t.Errorf("only %d routes were asked", asked)
	}
	for _, f := range found {
		t.Error(f)
	}
	if a := s.admin.ok("GET", "/vm/v3/host/"+targets["host"], ""); a.body["state"] != "active" {
		t.Errorf("the foreign host was touched: %s", a.text)
	}
	// Planted holes, which the check must detect: a route that reveals that the object exists, and one that shows it.
	for _, hole := range []func(path string) answer{
		func(string) answer {
			return answer{status: http.StatusForbidden, text: `{"error":{"code":3001,"msg":"not yours","value":{}}}`}
		},
		func(path string) answer { return s.admin.send("GET", path, "") },
	} {
		_, found := oracles(targets, func(method, path, body string) answer {
			if method == "GET" && path == "/vm/v3/host/"+targets["host"] {
				return hole(path)
			}
			return send(method, path, body)
		})
		if len(found) == 0 {
			t.Error("a planted hole is not seen")
		}
	}
}

// spoofs are headers from which some panels took the identity of the caller.
var spoofs = [][2]string{
	{"Internal-Auth", "on"},
	{"Isp-Box-Instance", "true"},
	{"Grpc-Metadata-Slipway-Identity", "forged"},
	{"Slipway-Identity", "forged"},
	{"Grpc-Metadata-X-Request-Id", "x"},
	{"Grpc-Metadata-Caller", "vm"},
	{"Grpcgateway-Authorization", "Bearer admin"},
	{"X-Forwarded-For", "127.0.0.1"},
	{"X-Forwarded-User", "admin"},
	{"X-Remote-User", "admin@example.com"},
	{"Remote-User", "admin"},
	{"X-Real-Ip", "127.0.0.1"},
	{"Forwarded", "for=127.0.0.1"},
	{"X-Http-Method-Override", "GET"},
	{"X-Method-Override", "DELETE"},
	{"X-Original-Url", "/healthz"},
	{"X-Rewrite-Url", "/healthz"},
	{"X-User-Id", "1"},
	{"X-Account", "1"},
	{"X-Roles", "@admin"},
	{"X-Ssl-Client-Verify", "SUCCESS"},
	{"X-Client-Cert", "CN=vm"},
	{"Authorization", "Basic YWRtaW46YWRtaW4="},
	{"Cookie", "ses6=admin; x-xsrf-token=1; token=admin"},
	{"Slipway-Client-Ip", "127.0.0.1"},
	{"Host", "localhost"},
	{"Te", "trailers"},
}

// TestHeadersGainNothing sends every header to every route, without an account and, where an administrator is needed,
// as a user.
func TestHeadersGainNothing(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	_, user := s.account("other@example.com", "@user", "other-password")
	sent := 0
	for _, r := range routes() {
		path := r.with(func(string) string { return nobodys })
		for who, want := range map[*client]int{s.nobody(): http.StatusUnauthorized, user: http.StatusForbidden} {
			if level := r.access.GetLevel(); level == levelPublic || who == user && level == levelUser {
				continue
			}
			for _, h := range spoofs {
				sent++
				a := who.send(r.method, path, "{}", h[0], h[1])
				if a.status != want {
					t.Errorf("%s %s with %s: %s: %d %s", r.method, r.path, h[0], h[1], a.status, a.text)
				}
			}
		}
	}
	if sent < 2000 {
		t.Errorf("only %d requests", sent)
	}
}

// TestWrongIsSeen plants answers that hostile input must never get.
func TestWrongIsSeen(t *testing.T) {
	t.Parallel()
	for name, a := range map[string]answer{
		"internal":   {status: 500, shaped: true},
		"shapeless":  {status: 400, text: "bad request"},
		"no message": {status: 400, text: `{"error":{"code":90001,"msg":"","value":{}}}`},
		"SQL":        {status: 400, shaped: true, text: `ERROR: column "x" does not exist (SQLSTATE 42703)`},
		"a path":     {status: 404, shaped: true, text: "open /tmp/node/x"},
		"a stack":    {status: 400, shaped: true, text: "goroutine 7 [running]"},
		"no JSON":    {status: 200, text: "hello"},
	} {
		if wrong(a) == "" {
			t.Errorf("%s is not seen", name)
		}
	}
	if problem := wrong(answer{status: 400, shaped: true}); problem != "" {
		t.Errorf("a good refusal is taken for a fault: %s", problem)
	}
}
