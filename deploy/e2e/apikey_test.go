//go:build e2e

package e2e

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// getFrom asks with one header, as a client with this address, and returns the status.
func (s *stack) getFrom(addr, path, header, value string) int {
	s.t.Helper()
	hc := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	req, err := http.NewRequest("GET", s.url+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set(header, value)
	s.pretend(hc, req, addr)
	resp, err := hc.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// TestAPIKeys: a program uses a key with some scopes of its owner, from some addresses, in every place of a token,
// until the key is deleted.
func TestAPIKeys(t *testing.T) {
	s := anyStack(t)
	admin := s.login()
	host := object{"name": "one", "os": admin.tiny(), "password": "x"}
	one := admin.must("POST", "/vm/v3/host", host)
	admin.complete(one)
	path := fmt.Sprintf("/vm/v3/host/%d", number(one, "id"))
	made := admin.must("POST", "/auth/v4/apikey", object{"name": "monitoring", "scopes": []string{"vms.read", "apikeys.read"}})
	key := made["key"].(string)
	program := &client{s: s, token: key}
	if h := program.must("GET", path, nil); h["name"] != "one" {
		t.Errorf("the key sees %v", h)
	}
	host["name"] = "two"
	for path, body := range map[string]any{"/vm/v3/host": host, path + "/stop": nil, "/auth/v4/token": object{}, "/auth/v4/apikey": object{"name": "x"}} {
		if status, answer := program.do("POST", path, body); status != 403 || number(answer["error"].(object), "code") != 3001 {
			t.Errorf("the key may POST %s: %d %v", path, status, answer)
		}
	}
	if status, _ := program.do("GET", "/auth/v4/user", nil); status != 403 {
		t.Errorf("the key may list users: %d", status)
	}
	for header, value := range map[string]string{
		"x-xsrf-token": key, "Authorization": "Bearer " + key, "X-Auth-Token": key, "ses6": key, "Cookie": "ses6=" + key,
	} {
		if status := s.getFrom("127.0.0.1", "/vm/v3/host", header, value); status != 200 {
			t.Errorf("%s: %d", header, status)
		}
	}
	bound := admin.must("POST", "/auth/v4/apikey", object{"name": "bound", "cidrs": []string{"127.0.0.2"}})["key"].(string)
	for range 2 { // what is remembered of one address counts for no other
		for from, want := range map[string]int{"127.0.0.2": 200, "127.0.0.1": 401} {
			if status := s.getFrom(from, "/vm/v3/host", "x-xsrf-token", bound); status != want {
				t.Errorf("from %s: %d, want %d", from, status, want)
			}
		}
	}
	var listed object
	for _, k := range program.list("/auth/v4/apikey") {
		if number(k, "id") == number(made, "id") {
			listed = k
		}
	}
	if ip, _ := listed["last_ip"].(string); net.ParseIP(ip) == nil || listed["hint"] != key[:8] {
		t.Errorf("listed as %v", listed)
	}
	path = fmt.Sprintf("/auth/v4/apikey/%d", number(listed, "id"))
	admin.must("POST", path, object{"name": "renamed"})
	admin.must("DELETE", path, nil)
	deleted := time.Now()
	for {
		status, _ := program.do("GET", "/vm/v3/host", nil)
		if status == 401 {
			break
		}
		if time.Since(deleted) > 5*time.Second {
			t.Fatalf("the key lives on: %d", status)
		}
		time.Sleep(20 * time.Millisecond)
	}
	if log := s.logged(); strings.Contains(log, key[8:40]) || strings.Contains(log, bound[8:40]) {
		t.Error("a key is in the log")
	}
}
