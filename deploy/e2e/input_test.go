//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"slipway.dev/pkg/pg/pgembed"
)

// TestBadInput sends what must be refused: clearly, in the dialect's shape, and before anything is made.
func TestBadInput(t *testing.T) {
	s := newStack(t, "sim")
	c, nobody := s.login(), &client{s: s}
	tiny := c.tiny()
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
		{"no free address", c, "POST", "/vm/v3/host", host(`,"ipv4_pool":[2]`), 400, 0, "address"},
		{"bad filter", c, "GET", "/vm/v3/host?where=(name+EQ", nil, 400, 0, "where"},
		{"unknown field", c, "GET", "/vm/v3/host?where=password_hash+CP+'%25'", nil, 400, 0, "password_hash"},
		{"no such host", c, "GET", "/vm/v3/host/999", nil, 404, 0, "host 999"},
		{"no such host to stop", c, "POST", "/vm/v3/host/999/stop", nil, 404, 0, "host 999"},
		{"id is no number", c, "GET", "/vm/v3/host/abc", nil, 0, 0, ""},
		{"overlapping network", c, "POST", "/vm/v3/userspace/public/ipnet", object{"name": "198.18.5.128/25"}, 0, 0, ""},
	} {
		if tt.name == "no free address" { // a pool with one address, which is used
			c.must("POST", "/vm/v3/userspace/public/ipnet", object{"name": "198.18.5.0/24"})
			pool := number(c.must("POST", "/ip/v3/userspace/public/ippool", object{"name": "one"}), "id")
			c.must("POST", fmt.Sprintf("/vm/v3/ippool/%d/range", pool), object{"name": "198.18.5.9"})
			c.must("POST", fmt.Sprintf("/vm/v3/ippool/%d/cluster", pool), object{"clusters": []object{{"id": 1, "interface": 0}}})
			c.complete(c.must("POST", "/vm/v3/host", fmt.Sprintf(`{"name":"one","os":%d,"password":"x","ipv4_pool":[%d]}`, tiny, pool)))
		}
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
	if l := c.list("/vm/v3/host"); len(l) != 1 {
		t.Errorf("refused requests made hosts: %v", l)
	}
}

// TestOpenDoors checks what answers without a token, and every place where a token is taken from.
func TestOpenDoors(t *testing.T) {
	s := newStack(t, "sim")
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

// TestSideBySide runs two stacks on one machine, each with a real host; one in a directory whose name is too long for the
// sockets below it.
func TestSideBySide(t *testing.T) {
	a, b := newStackAt(t, "a-directory-with-a-long-name-for-the-data-of-this-stack", "libvirt"), newStack(t, "libvirt")
	ca, cb := a.login(), b.login()
	made := ca.must("POST", "/vm/v3/host", object{"name": "only-in-a", "os": ca.tiny(), "password": "x"})
	ca.complete(made)
	if l := cb.list("/vm/v3/host"); len(l) != 0 {
		t.Errorf("b sees hosts of a: %v", l)
	}
	if status, _ := (&client{s: b, token: ca.token}).do("GET", "/vm/v3/host", nil); status != 401 {
		t.Errorf("b takes a's token: %d", status)
	}
	other := cb.must("POST", "/vm/v3/host", object{"name": "only-in-b", "os": cb.tiny(), "password": "x"})
	cb.complete(other)
	cb.complete(cb.must("DELETE", fmt.Sprintf("/vm/v3/host/%d", number(other, "id")), nil))
	b.stop()
	if h := ca.host(number(made, "id")); h["state"] != "active" {
		t.Errorf("after b is gone: %v", h)
	}
	ca.console(number(made, "id"), "slipway-guest ready only-in-a 10.")
	b.start()
}

// TestCatalogue: an image whose publisher cannot be reached is a task that fails and leaves nothing. With the internet
// at hand it would take minutes, so the address is shut here.
func TestCatalogue(t *testing.T) {
	s := newStack(t, "sim", "HTTPS_PROXY=http://127.0.0.1:9")
	c := s.login()
	if l := c.list("/vm/v3/catalogue"); len(l) < 4 {
		t.Errorf("catalogue %v", l)
	}
	op := c.must("POST", "/vm/v3/catalogue/debian-12/import", nil)
	if l := c.list("/vm/v3/os?where=name+EQ+'debian-12'"); len(l) != 1 || l[0]["state"] != "importing" {
		t.Errorf("while importing: %v", l)
	}
	if status, body := c.do("POST", "/vm/v3/catalogue/debian-12/import", nil); status != 409 {
		t.Errorf("a second import: %d %v", status, body)
	}
	if end := c.finish(number(op, "task"), 30*time.Second); end["status"] != "failed" || !strings.Contains(end["output"].(string), "cannot be reached") {
		t.Errorf("task %v", end)
	}
	if l := c.list("/vm/v3/os?where=name+EQ+'debian-12'"); len(l) != 0 {
		t.Errorf("left: %v", l)
	}
	if status, _ := c.do("POST", "/vm/v3/catalogue/none/import", nil); status != 404 {
		t.Errorf("an image that is not in the catalogue: %d", status)
	}
}

// TestGivenServers runs a stack on a PostgreSQL and a NATS that are there already.
func TestGivenServers(t *testing.T) {
	dir, err := os.MkdirTemp("", "slipway-e2e-servers-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) }) // after the stack is audited and stopped, as all below
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	db, err := pgembed.Start(t.Context(), pgembed.Config{Dir: filepath.Join(dir, "postgres"), Fast: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Stop(context.WithoutCancel(t.Context())) })
	ns, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: filepath.Join(dir, "nats"), NoSigs: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	ns.Start()
	t.Cleanup(ns.Shutdown)
	if !ns.ReadyForConnections(10 * time.Second) {
		t.Fatal("nats is not ready")
	}
	s := newStack(t, "sim", "SLIPWAY_POSTGRES_URL="+db.URL(), "SLIPWAY_NATS_URL="+ns.ClientURL())
	c := s.login()
	c.complete(c.must("POST", "/vm/v3/host", object{"name": "a", "os": c.tiny(), "password": "x"}))
	for _, sub := range []string{"postgres", "nats"} {
		if _, err := os.Stat(filepath.Join(s.data, sub)); err == nil {
			t.Errorf("a private %s was made", sub)
		}
	}
}
