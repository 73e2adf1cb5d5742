package gateway_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	"slipway.dev/gateway/internal/ispsystem"
)

// The rules whose breach breaks clients, by their numbers in the contract of the dialect. What a service must see to
// (that a task is stored before the answer, that ids stay small) is tested there; here is the edge's part of it.

// call answers the status and the decoded body of a request with the admin's token.
func call(t *testing.T, h http.Handler, lines ...string) (int, map[string]any) {
	t.Helper()
	rec := send(t, h, append([]string{lines[0], "x-xsrf-token: admin"}, lines[1:]...)...)
	var body map[string]any
	if err := json.Unmarshal(rec.Body.Bytes(), &body); err != nil {
		t.Errorf("%s: %d %q is no JSON object", lines[0], rec.Code, rec.Body)
	}
	return rec.Code, body
}

func TestRule01TokenAnswers201OthersAnswer200(t *testing.T) {
	t.Parallel()
	h := newQuietStack(t).Handler()
	for line, want := range map[string]int{
		"POST /auth/v4/public/token": 201, "POST /auth/v4/token": 200, "POST /vm/v3/host": 200,
		"GET /vm/v3/host": 200, "DELETE /vm/v3/host/1": 200, "GET /ip/v3/ippool/1": 200,
	} {
		if got, _ := call(t, h, line, "", `{"password":"secret"}`); got != want {
			t.Errorf("%s: %d, want %d", line, got, want)
		}
	}
}

func TestRule02TokenIDIsANumber(t *testing.T) {
	t.Parallel()
	rec := send(t, newQuietStack(t).Handler(), "POST /auth/v4/public/token", "", `{"password":"secret"}`)
	if !strings.HasPrefix(rec.Body.String(), `{"id":3,`) {
		t.Error(rec.Body)
	}
}

func TestRule03IDAndKeyOfAUserKeyAreStrings(t *testing.T) {
	t.Parallel()
	checked := 0
	for _, r := range routes() {
		if strings.HasSuffix(r.Path, "/key") && r.Method == http.MethodPost && strings.Contains(r.Path, "/user/") {
			for _, name := range []protoreflect.Name{"id", "key"} {
				checked++
				if fd := r.RPC.Output().Fields().ByName(name); fd == nil || fd.Kind() != protoreflect.StringKind {
					t.Errorf("%s: %s is not a string", r.Path, name)
				}
			}
		}
	}
	if checked == 0 {
		t.Fatal("no route makes a key of a user")
	}
}

func TestRule04ContentTypeMeansNothing(t *testing.T) {
	t.Parallel()
	s := newQuietStack(t)
	for _, ct := range []string{
		"", "application/json", "application/octet-stream", "application/x-www-form-urlencoded", "text/plain", "nonsense;;", "multipart/form-data",
	} {
		lines := []string{"POST /vm/v3/host"}
		if ct != "" {
			lines = append(lines, "Content-Type: "+ct)
		}
		s.vm.created.Store(nil)
		code, _ := call(t, s.Handler(), append(lines, "", `{"name":"mein","ram_mib":512}`)...)
		if got := s.vm.created.Load(); code != 200 || got.GetName() != "mein" || got.GetRamMib() != 512 {
			t.Errorf("%q: %d %v", ct, code, got)
		}
		for _, empty := range []string{"", "{}", "null", " ", "[]"} {
			if code, _ := call(t, s.Handler(), append(lines[:1:1], append(lines[1:], "", empty)...)...); code != 200 {
				t.Errorf("%q with body %q: %d", ct, empty, code)
			}
			if code, _ := call(t, s.Handler(), append([]string{"POST /vm/v3/host/1/start"}, append(lines[1:], "", empty)...)...); code != 200 {
				t.Errorf("start, %q with body %q: %d", ct, empty, code)
			}
		}
	}
}

func TestRule05AlwaysAJSONBody(t *testing.T) {
	t.Parallel()
	h := newQuietStack(t).Handler()
	for _, line := range []string{
		"DELETE /vm/v3/host/1", "DELETE /auth/v4/token/4-x", "POST /vm/v3/host/1/start", "GET /none", "PATCH /vm/v3/host",
		"OPTIONS /vm/v3/host", "GET /vm/v3/host/abc", "GET /api/none", "TRACE /vm/v3/host", "POST /",
	} {
		if code, body := call(t, h, line); code == 204 || body == nil {
			t.Errorf("%s: %d %v", line, code, body)
		}
	}
}

func TestRule06NumbersHaveNoExponent(t *testing.T) {
	t.Parallel()
	rec := send(t, newQuietStack(t).Handler(), "GET /vm/v3/task/999999", "x-xsrf-token: admin")
	if !strings.Contains(rec.Body.String(), `"id":999999,`) {
		t.Error(rec.Body)
	}
}

func TestRule07TaskOfACreateIsListedAtOnce(t *testing.T) {
	t.Parallel()
	h := newQuietStack(t).Handler()
	_, created := call(t, h, "POST /vm/v3/host", "", `{"name":"mein"}`)
	_, tasks := call(t, h, fmt.Sprintf("GET /vm/v3/task?where=consul_id+EQ+%v", int(created["task"].(float64))))
	if list := tasks["list"].([]any); len(list) != 1 {
		t.Errorf("%v", tasks)
	}
}

func TestRule08TaskIsANumberAndTheConsulID(t *testing.T) {
	t.Parallel()
	h := newQuietStack(t).Handler()
	_, started := call(t, h, "POST /vm/v3/host/1/start")
	if _, ok := started["task"].(float64); !ok {
		t.Errorf("%v", started)
	}
	_, one := call(t, h, "GET /vm/v3/task/100023")
	nested, _ := one["task"].(map[string]any)
	if one["consul_id"] != 100023.0 || nested["consul_id"] != 100023.0 {
		t.Errorf("%v", one)
	}
}

func TestRule09TokenFromManyPlaces(t *testing.T) {
	t.Parallel()
	h := newQuietStack(t).Handler()
	for _, header := range []string{
		"x-xsrf-token: user", "Authorization: Bearer user", "authorization: bearer user", "X-Auth-Token: user", "ses6: user",
		"ISP-Session: user", "Cookie: ses6=user", "Cookie: x-xsrf-token=user", "Cookie: token=user",
		"Cookie: lang=en; ses6=user; token=none", "X-XSRF-TOKEN:   user  ",
	} {
		for _, credential := range []string{"user", fakeAPIKey, fakeAccess} {
			header := strings.Replace(header, "user", credential, 1)
			rec := send(t, h, "GET /auth/v4/whoami", header)
			if rec.Code != 200 || !strings.HasPrefix(rec.Body.String(), `{"id":4,`) {
				t.Errorf("%s: %d %s", header, rec.Code, rec.Body)
			}
		}
	}
	for want, headers := range map[string][]string{ // the first that says anything counts
		`{"id":3,`: {"ses6: user", "x-xsrf-token: admin", "Cookie: ses6=user"},
		`{"id":4,`: {"x-xsrf-token: ", "Authorization: Basic YTpi", "Cookie: ses6=; x-xsrf-token=user; token=admin"},
	} {
		if rec := send(t, h, append([]string{"GET /auth/v4/whoami"}, headers...)...); !strings.HasPrefix(rec.Body.String(), want) {
			t.Errorf("%v: %s", headers, rec.Body)
		}
	}
}

func TestRule10NoTokenIs401WithCode1000(t *testing.T) {
	t.Parallel()
	h := newQuietStack(t).Handler()
	for _, header := range []string{"Accept: */*", "x-xsrf-token: 4-expired", "Cookie: ses6=old", "Authorization: Bearer x"} {
		rec := send(t, h, "GET /vm/v3/host", header)
		if rec.Code != 401 || !strings.HasPrefix(rec.Body.String(), `{"error":{"code":1000,`) {
			t.Errorf("%s: %d %s", header, rec.Code, rec.Body)
		}
	}
}

func TestRule11NoQuotedErrorInASuccess(t *testing.T) {
	t.Parallel()
	h := newQuietStack(t).Handler()
	for _, line := range []string{"GET /ip/v3/ippool/1", "GET /vm/v3/task/1", "GET /vm/v3/host/1"} {
		rec := send(t, h, line, "x-xsrf-token: admin")
		if rec.Code != 200 || strings.Contains(rec.Body.String(), `"error"`) {
			t.Errorf("%s: %d %s", line, rec.Code, rec.Body)
		}
	}
	// The pool is called "error"; every JSON reader still reads that name.
	if _, pool := call(t, h, "GET /ip/v3/ippool/1"); pool["name"] != "error" {
		t.Errorf("%v", pool)
	}
	eachField(func(owner protoreflect.MessageDescriptor, fd protoreflect.FieldDescriptor) {
		if fd.Name() == "error" {
			t.Errorf("%s has a field called error", owner.FullName())
		}
	})
}

func TestRule12FiltersInManyEncodings(t *testing.T) {
	t.Parallel()
	h := newQuietStack(t).Handler() // package where has the whole table
	for _, query := range []string{
		`where=((roles+CP+'%25@admin%25')+AND+(state+EQ+'active'))`,
		`where=%28%28roles%20CP%20%27%25%40admin%25%27%29%20AND%20%28state%20EQ%20%27active%27%29%29`,
		`where=(roles+CP+'%@admin%')+AND+(state+EQ+'active')`,
	} {
		rec := send(t, h, "GET /auth/v4/user?"+query, "x-xsrf-token: admin")
		if !strings.Contains(rec.Body.String(), `where[(roles CP '%@admin%' AND state EQ 'active')]`) {
			t.Errorf("%s: %d %s", query, rec.Code, rec.Body)
		}
	}
}

func TestRule13OldAuthPaths(t *testing.T) {
	t.Parallel()
	h := newQuietStack(t).Handler()
	code, added := call(t, h, "POST /auth/v3/user/4/sshkey", "", `{"name":"k","ssh_pub_key":"ssh-ed25519 AAAA"}`)
	if code != 200 || added["id"] != 9.0 {
		t.Errorf("%d %v", code, added)
	}
	if code, list := call(t, h, "GET /auth/v3/user/4/sshkey"); code != 200 || list["size"] != 1.0 {
		t.Errorf("%d %v", code, list)
	}
}

func TestRule14EveryPathAlsoUnderAPI(t *testing.T) {
	t.Parallel()
	h := newQuietStack(t).Handler() // TestRoutes does it for every path
	for _, path := range []string{"/vm/v3/host/1", "/api/vm/v3/host/1", "/api/vm/v3/host/1/", "/vm/v3/host/1/"} {
		if code, one := call(t, h, "GET "+path); code != 200 || one["id"] != 1.0 {
			t.Errorf("%s: %d %v", path, code, one)
		}
	}
	for _, path := range []string{"/api/api/vm/v3/host/1", "/apivm/v3/host/1"} {
		if code, _ := call(t, h, "GET "+path); code != 404 {
			t.Errorf("%s: %d", path, code)
		}
	}
}

func TestRule15Only503MeansRepeat(t *testing.T) {
	t.Parallel()
	for _, k := range ispsystem.Errors {
		if (k.HTTP == http.StatusServiceUnavailable) != (k.Code.String() == "Unavailable") {
			t.Errorf("%+v", k)
		}
	}
	s := newQuietStack(t)
	s.auth.down.Store(true)
	rec := send(t, s.Handler(), "GET /vm/v3/host", "x-xsrf-token: user")
	if rec.Code != 503 || rec.Header().Get("Retry-After") == "" {
		t.Errorf("auth is away: %d %s", rec.Code, rec.Body)
	}
	s.auth.down.Store(false)
	if code, _ := call(t, s.Handler(), "GET /vm/v3/host"); code != 200 {
		t.Errorf("auth is back: %d", code)
	}
}

func TestRule16EmptyObjectsAndNullsAreNormal(t *testing.T) {
	t.Parallel()
	s := newQuietStack(t)
	code, body := call(t, s.Handler(), "POST /vm/v3/host", "", `{"name":"mein","ip_addr":{},"preset":null,"disks":null,
		"recipe_params":null,"backup_locations":null,"ipv4_pool":null,"cluster":null,"comment":null,"custom_interfaces":[{"mac":null,"bridge":null}]}`)
	got := s.vm.created.Load()
	if code != 200 || got.GetIpAddr() == nil || got.Preset != nil || got.Cluster != nil {
		t.Errorf("%d %v %v", code, body, got)
	}
}
