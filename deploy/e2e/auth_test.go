//go:build e2e

package e2e

import (
	"fmt"
	"net/url"
	"testing"
	"time"
)

// TestBillingLogin follows a customer of a billing system: an account, a one-time key, a session that sees its own
// objects, and the end of all of them when the password changes.
func TestBillingLogin(t *testing.T) {
	s := anyStack(t)
	admin, nobody := s.login(), &client{s: s}
	email := unique("client+")
	id := number(admin.must("POST", "/vm/v3/account", object{"email": email, "password": "customer-1", "role": "@user"}), "id")
	admin.complete(admin.must("POST", "/vm/v3/host", object{"name": "of-admin", "os": admin.tiny(), "password": "x"}))
	admin.complete(admin.must("POST", "/vm/v3/host", object{"name": "of-client", "os": admin.tiny(), "password": "x", "account": id}))

	key := admin.must("POST", "/auth/v4/user/"+url.PathEscape(email)+"/key", object{})
	if _, isText := key["id"].(string); !isText || key["key"] == "" {
		t.Fatalf("key %v", key)
	}
	session := nobody.must("POST", "/api/auth/v4/public/key", object{"key": key["key"]})
	customer := &client{s: s, token: session["token"].(string)}
	if l := customer.list("/vm/v3/host"); len(l) != 1 || l[0]["name"] != "of-client" {
		t.Errorf("the customer sees %v", l)
	}
	if status, body := nobody.do("POST", "/auth/v4/public/key", object{"key": key["key"]}); status != 403 || number(body["error"].(object), "code") != 3001 {
		t.Errorf("the key worked twice: %d %v", status, body)
	}
	for _, path := range []string{"/vm/v3/node", "/auth/v4/user", fmt.Sprintf("/auth/v4/user/%d/key", id)} {
		method := "GET"
		if path[len(path)-3:] == "key" {
			method = "POST"
		}
		if status, body := customer.do(method, path, nil); status != 403 {
			t.Errorf("the customer may %s %s: %d %v", method, path, status, body)
		}
	}

	admin.must("POST", fmt.Sprintf("/vm/v3/user/%d/password", id), object{"password": "customer-2"})
	changed := time.Now()
	for {
		status, body := customer.do("GET", "/vm/v3/host", nil)
		if status == 401 && number(body["error"].(object), "code") == 1000 {
			break
		}
		if time.Since(changed) > 5*time.Second {
			t.Fatalf("the old session lives on: %d %v", status, body)
		}
		time.Sleep(20 * time.Millisecond)
	}
	if status, _ := nobody.do("POST", "/auth/v3/auth", object{"email": email, "password": "customer-1"}); status != 400 {
		t.Errorf("the old password works: %d", status)
	}
	old := nobody.must("POST", "/auth/v3/auth", object{"email": email, "password": "customer-2"})
	if (&client{s: s, token: old["session"].(string)}).must("GET", "/auth/v4/whoami", nil)["email"] != email {
		t.Error("the session of the old login is somebody else's")
	}
}
