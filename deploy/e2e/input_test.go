//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// TestBadInput sends what must be refused: clearly, in the dialect's shape, and before anything is made.
func TestBadInput(t *testing.T) {
	s := anyStack(t)
	c, nobody := s.login(), &client{s: s}
	tiny := c.tiny()
	before := len(c.list("/vm/v3/host"))
	// A network with a pool of one address, which is used. Other runs on the same stack take other networks.
	net := c.freeNetwork()
	c.must("POST", "/vm/v3/userspace/public/ipnet", object{"name": net + ".0/24"})
	pool := number(c.must("POST", "/ip/v3/userspace/public/ippool", object{"name": "one of " + net}), "id")
	c.must("POST", fmt.Sprintf("/vm/v3/ippool/%d/range", pool), object{"name": net + ".9"})
	c.must("POST", fmt.Sprintf("/vm/v3/ippool/%d/cluster", pool), object{"clusters": []object{{"id": 1, "interface": 0}}})
	one := c.must("POST", "/vm/v3/host", fmt.Sprintf(`{"name":"one","os":%d,"password":"x","ipv4_pool":[%d]}`, tiny, pool))
	c.complete(one)
	host := func(change string) string {
		return fmt.Sprintf(`{"name":"bad","os":%d,"password":"x"%s}`, tiny, change)
	}
	for _, tt := range []struct {
		name   string
		by     *client
		method string
		path   string
		body   any
		status int
		code   int // 0: any
		says   string
	}{
		{"wrong password", nobody, "POST", "/auth/v4/public/token", object{"email": adminEmail, "password": "no"}, 0, 22013, "nvalid password"},
		{"unknown account", nobody, "POST", "/auth/v4/public/token", object{"email": "no@example.com", "password": "no"}, 0, 22013, "nvalid password"},
		{"no token", nobody, "GET", "/vm/v3/host", nil, 401, 1000, ""},
		{"bad token", &client{s: s, token: "1-abcdef"}, "GET", "/vm/v3/host", nil, 401, 1000, ""},
		{"unknown path", c, "GET", "/vm/v3/nothing", nil, 404, 1106, ""},
		{"unknown path under /api", c, "GET", "/api/nothing", nil, 404, 1106, ""},
		{"malformed JSON", c, "POST", "/vm/v3/host", `{"name":`, 400, 0, "JSON"},
		{"not an object", c, "POST", "/vm/v3/host", `[1]`, 400, 0, ""},
		{"wrong type", c, "POST", "/vm/v3/host", host(`,"cpu_number":"many"`), 400, 0, "cpu_number"},
		{"no name", c, "POST", "/vm/v3/host", object{"os": tiny, "password": "x"}, 400, 0, "name"},
		{"no os", c, "POST", "/vm/v3/host", object{"name": "bad", "password": "x"}, 400, 0, "os"},
		{"no such os", c, "POST", "/vm/v3/host", object{"name": "bad", "os": 99, "password": "x"}, 400, 0, "os"},
		{"no such cluster", c, "POST", "/vm/v3/host", host(`,"cluster":99`), 400, 0, "cluster"},
		{"no such node", c, "POST", "/vm/v3/host", host(`,"node":99`), 400, 0, "node"},
		{"no such pool", c, "POST", "/vm/v3/host", host(`,"ipv4_pool":[99]`), 400, 0, "pool"},
		{"no such account", c, "POST", "/vm/v3/host", host(`,"account":99`), 400, 0, "account"},
		{"too much RAM", c, "POST", "/vm/v3/host", host(`,"ram_mib":9000000`), 400, 0, "ram_mib"},
		{"too much disk", c, "POST", "/vm/v3/host", host(`,"hdd_mib":60000000`), 400, 0, "hdd_mib"},
		{"no free address", c, "POST", "/vm/v3/host", host(fmt.Sprintf(`,"ipv4_pool":[%d]`, pool)), 400, 0, "address"},
		{"bad filter", c, "GET", "/vm/v3/host?where=(name+EQ", nil, 400, 0, "where"},
		{"unknown field", c, "GET", "/vm/v3/host?where=password_hash+CP+'%25'", nil, 400, 0, "password_hash"},
		{"no such host", c, "GET", "/vm/v3/host/999", nil, 404, 0, "host 999"},
		{"no such host to stop", c, "POST", "/vm/v3/host/999/stop", nil, 404, 0, "host 999"},
		{"id is no number", c, "GET", "/vm/v3/host/abc", nil, 0, 0, ""},
		{"overlapping network", c, "POST", "/vm/v3/userspace/public/ipnet", object{"name": net + ".128/25"}, 0, 0, ""},
	} {
		status, body := tt.by.do(tt.method, tt.path, tt.body)
		e, _ := body["error"].(object)
		msg, _ := e["msg"].(string)
		switch {
		case status < 400 || status >= 500 || e == nil || number(e, "code") == 0 || msg == "":
			t.Errorf("%s: %d %v", tt.name, status, body)
		case tt.status != 0 && status != tt.status, tt.code != 0 && number(e, "code") != tt.code, !strings.Contains(msg, tt.says):
			t.Errorf("%s: %d %v; want status %d, code %d, %q in the message", tt.name, status, body, tt.status, tt.code, tt.says)
		}
		for _, secret := range []string{"SQL", "pgx", "goroutine", ".go:", "/tmp", "relation", "127.0.0.1"} {
			if strings.Contains(msg, secret) {
				t.Errorf("%s: the message says too much: %s", tt.name, msg)
			}
		}
	}
	if l := c.list("/vm/v3/host"); len(l) != before+1 {
		t.Errorf("refused requests made hosts: %v", l)
	}
	c.complete(c.must("DELETE", fmt.Sprintf("/vm/v3/host/%d", number(one, "id")), nil))
}

// TestOpenDoors checks what answers without a token, and every place where a token is taken from.
func TestOpenDoors(t *testing.T) {
	s := anyStack(t)
	nobody := &client{s: s}
	for path, says := range map[string]string{
		"/healthz": "", "/readyz": "", "/openapi.json": `"openapi"`, "/swagger/": "swagger",
	} {
		resp, text := nobody.raw("GET", path, nil)
		if resp.StatusCode != 200 || !strings.Contains(strings.ToLower(string(text)), says) {
			t.Errorf("%s: %d %.200s", path, resp.StatusCode, text)
		}
	}
	_, text := nobody.raw("GET", "/openapi.json", nil)
	var doc struct {
		Paths map[string]any `json:"paths"`
	}
	if err := json.Unmarshal(text, &doc); err != nil || doc.Paths["/vm/v3/host"] == nil || doc.Paths["/auth/v4/public/token"] == nil {
		t.Errorf("openapi: %v, %d paths", err, len(doc.Paths))
	}
	token := s.login().token
	for name, set := range map[string]func(*http.Request){
		"header x-xsrf-token": func(r *http.Request) { r.Header.Set("x-xsrf-token", token) },
		"header ses6":         func(r *http.Request) { r.Header.Set("ses6", token) },
		"header ISP-Session":  func(r *http.Request) { r.Header.Set("ISP-Session", token) },
		"bearer":              func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) },
		"X-Auth-Token":        func(r *http.Request) { r.Header.Set("X-Auth-Token", token) },
		"cookie ses6":         func(r *http.Request) { r.AddCookie(&http.Cookie{Name: "ses6", Value: token}) },
		"cookie x-xsrf-token": func(r *http.Request) { r.AddCookie(&http.Cookie{Name: "x-xsrf-token", Value: token}) },
		"cookie token":        func(r *http.Request) { r.AddCookie(&http.Cookie{Name: "token", Value: token}) },
	} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", s.url+"/auth/v4/whoami", nil)
		if err != nil {
			t.Fatal(err)
		}
		set(req)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != 200 {
			t.Errorf("%s: %d", name, resp.StatusCode)
		}
	}
}
