//go:build e2e && !remote

package e2e

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// TestKilledWhileCreating kills slipway at moments of a create and starts it again: the create ends complete, or failed
// with nothing left behind.
func TestKilledWhileCreating(t *testing.T) {
	for _, tt := range []struct {
		hypervisor string
		rounds     int
		within     time.Duration // about as long as a create takes
	}{{"sim", 12, 120 * time.Millisecond}, {"libvirt", 6, 1500 * time.Millisecond}} {
		t.Run(tt.hypervisor, func(t *testing.T) {
			s := newStack(t, tt.hypervisor)
			c := s.login()
			os := c.tiny()
			for i := range tt.rounds {
				made := c.must("POST", "/vm/v3/host", object{"name": fmt.Sprintf("crash%d", i), "os": os, "password": "x", "ram_mib": 128})
				time.Sleep(rand.N(tt.within))
				s.kill()
				s.start()
				c = s.login()
				end := c.finish(number(made, "task"), time.Minute)
				path := fmt.Sprintf("/vm/v3/host/%d", number(made, "id"))
				switch end["status"] {
				case "complete":
					if h := c.host(number(made, "id")); h["state"] != "active" {
						t.Errorf("round %d: %v", i, h)
					}
					c.complete(c.must("DELETE", path, nil))
				case "failed":
					if status, h := c.do("GET", path, nil); status != 404 {
						t.Errorf("round %d: failed, and yet %v", i, h)
					}
				default:
					t.Errorf("round %d: %v", i, end)
				}
				s.noTrace()
			}
			for _, a := range c.list("/vm/v3/ip") {
				if a["state"] == "assigned" || a["state"] == "reserved" {
					t.Errorf("address left: %v", a)
				}
			}
			n := c.list("/vm/v3/node")[0]
			if number(n["ram_mib"].(object), "allocated") != 0 {
				t.Errorf("room left: %v", n)
			}
		})
	}
}

// TestKilledWhileAccepting kills slipway right when it answers: whatever was answered is kept.
func TestKilledWhileAccepting(t *testing.T) {
	s := newStack(t, "sim")
	c := s.login()
	os := c.tiny()
	var tasks []int
	for i := range 20 {
		made := c.must("POST", "/vm/v3/host", object{"name": fmt.Sprintf("h%d", i), "os": os, "password": "x", "ram_mib": 128})
		tasks = append(tasks, number(made, "task"))
	}
	s.kill()
	s.start()
	c = s.login()
	for _, id := range tasks {
		if end := c.finish(id, time.Minute); end["status"] != "complete" {
			t.Errorf("task %v", end)
		}
	}
	if l := c.list("/vm/v3/host?where=state+EQ+'active'"); len(l) != len(tasks) {
		t.Errorf("%d hosts of %d are active", len(l), len(tasks))
	}
}
