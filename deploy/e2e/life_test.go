//go:build e2e

package e2e

import (
	"fmt"
	"testing"
)

// TestHostLife is the life of a host on whatever runs the machines of this stack, and what it leaves: nothing.
func TestHostLife(t *testing.T) {
	s := anyStack(t)
	c := s.login()
	made := c.must("POST", "/vm/v3/host", object{"name": "life", "os": c.tiny(), "password": "x"})
	c.complete(made)
	path := fmt.Sprintf("/vm/v3/host/%d", number(made, "id"))
	if h := c.host(number(made, "id")); h["state"] != "active" || len(h["ip4"].([]any)) != 1 {
		t.Errorf("made: %v", h)
	}
	c.complete(c.must("POST", path+"/stop", nil))
	c.complete(c.must("POST", path+"/start", nil))
	c.complete(c.must("POST", path+"/restart", nil))
	if h := c.host(number(made, "id")); h["state"] != "active" {
		t.Errorf("after stop, start and restart: %v", h)
	}
	c.complete(c.must("DELETE", path, nil))
	if status, body := c.do("GET", path, nil); status != 404 {
		t.Errorf("deleted: %d %v", status, body)
	}
	for _, a := range c.list("/vm/v3/ip") {
		if h, ok := a["host"].(object); ok && number(h, "id") == number(made, "id") {
			t.Errorf("address left: %v", a)
		}
	}
}
