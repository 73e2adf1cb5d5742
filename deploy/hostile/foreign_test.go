package hostile

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// nobodys is an id without an object.
const nobodys = "999999"

// sender sends a request as an account that owns nothing but what own lists.
type sender func(method, path, body string) answer

// oracles asks for the objects of others and for those that are not there, on every route that a user may call, and lists
// where the answers differ: in status, number, or in anything but the id. Of a path with two variables the second one is asked
// too, behind an object of the caller's own.
func oracles(targets, own map[string]string, send sender) (asked int, found []string) {
	for _, r := range routes() {
		if r.access.GetLevel() != levelUser {
			continue
		}
		for at, noun := range r.nouns() {
			if shared[noun] {
				continue
			}
			foreign, mine := targets[noun], own[r.nouns()[0]]
			if foreign == "" || at > 0 && mine == "" {
				found = append(found, fmt.Sprintf("%s %s: there is no %s to ask for", r.method, r.path, noun))
				continue
			}
			answers := map[string]string{}
			for _, id := range []string{foreign, nobodys} {
				n := -1
				a := send(r.method, r.with(func(string) string {
					if n++; n < at {
						return mine
					}
					return id
				}), good(r))
				answers[id] = masked(a, id)
			}
			asked++
			if answers[foreign] != answers[nobodys] {
				found = append(found, fmt.Sprintf("%s %s: %s, and of nobody: %s", r.method, r.path, answers[foreign], answers[nobodys]))
			}
			if !strings.HasPrefix(answers[nobodys], "404") {
				found = append(found, fmt.Sprintf("%s %s of nobody: %s", r.method, r.path, answers[nobodys]))
			}
		}
	}
	return asked, found
}

// masked returns an answer without the id that the request named.
func masked(a answer, id string) string {
	text := regexp.MustCompile(`\b`+regexp.QuoteMeta(id)+`\b`).ReplaceAllString(a.text, "ID")
	return fmt.Sprint(a.status, " ", text)
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

// more adds objects of the administrator that routes of users name besides those of targets.
func (s *world) more(targets map[string]string) {
	s.Helper()
	admin := s.admin.ok("GET", "/auth/v4/whoami", "").number("id")
	add := func(noun, path, body, field string) {
		targets[noun] = fmt.Sprint(s.admin.ok("POST", path, body).body[field])
	}
	add("disk", "/vm/v3/disk", `{"name":"data","size_mib":1,"node":1}`, "id")
	add("apikey", "/auth/v4/apikey", `{"name":"key"}`, "id")
	add("token", "/auth/v4/token", `{}`, "token")
	add("session", "/auth/v4/token", `{}`, "token")
	add("sshkey", fmt.Sprintf("/auth/v4/user/%d/sshkey", admin), good(route{rpc: rpcOf("AddSSHKey"), body: true}), "id")
	ip := s.admin.ok("GET", "/vm/v3/host/"+targets["host"]+"/ipv4", "").body["list"].([]any)[0].(object)
	targets["ip"] = fmt.Sprint(ip["id"])
	targets["ptr"] = targets["ip"]
}

func TestForeignIsMissing(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	targets := s.targets()
	s.more(targets)
	id, user := s.account("other@example.com", "@user", "other-password")
	host := user.ok("POST", "/vm/v3/host", `{"name":"own","os":1,"password":"x","hdd_mib":1}`)
	user.complete(host.number("task"))
	own := map[string]string{"host": fmt.Sprint(host.number("id")), "user": fmt.Sprint(id)}
	send := func(method, path, body string) answer { return user.send(method, path, body) }
	asked, found := oracles(targets, own, send)
	if asked < 50 {
		t.Errorf("only %d objects were asked for", asked)
	}
	for _, f := range found {
		t.Error(f)
	}
	for _, path := range []string{"/vm/v3/host/" + targets["host"], "/vm/v3/host/" + own["host"]} {
		if a := s.admin.ok("GET", path, ""); a.body["state"] != "active" || a.body["domain"] == "a.example.com" {
			t.Errorf("a host was touched: %s", a.text)
		}
	}
	// Planted holes, which the check must detect: a route that reveals that the object exists, and ones that show it.
	for _, hole := range []struct {
		path string
		show func(path string) answer
	}{
		{"/vm/v3/host/" + targets["host"], func(string) answer {
			return answer{status: http.StatusForbidden, text: `{"error":{"code":3001,"msg":"not yours","value":{}}}`}
		}},
		{"/vm/v3/host/" + targets["host"], func(path string) answer { return s.admin.send("GET", path, "") }},
		{"/vm/v3/disk/" + targets["disk"], func(path string) answer { return s.admin.send("GET", path, "") }},
	} {
		_, found := oracles(targets, own, func(method, path, body string) answer {
			if method == "GET" && path == hole.path {
				return hole.show(path)
			}
			return send(method, path, body)
		})
		if len(found) == 0 {
			t.Errorf("a planted hole is not seen: %s", hole.path)
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
