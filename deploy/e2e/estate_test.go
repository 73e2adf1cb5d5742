//go:build e2e && !remote

package e2e

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// estate is a stack with so many hosts that exist in the database alone.
func estate(t *testing.T, hosts int) *stack {
	t.Helper()
	s := newStack(t, "sim", "SLIPWAY_VM_WATCH_EVERY=24h", "SLIPWAY_LOG=warn")
	s.damaged = true // no node has the machines of an estate
	s.stop()
	fill := func() error {
		out, err := exec.Command(program(t), "bench", "seed", "--data", s.data, "--hosts", fmt.Sprint(hosts)).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}
	if err := fill(); err != nil {
		t.Fatal(err)
	}
	if err := fill(); err == nil || !strings.Contains(err.Error(), "fresh") {
		t.Errorf("a database that is in use was filled: %v", err)
	}
	s.start()
	return s
}

// TestEstate reads the lists of an estate in every way that there is, and sends 10,000 hostile queries to all of them.
func TestEstate(t *testing.T) {
	const hosts = 3000
	s := estate(t, hosts)
	c := s.login()
	lists := c.lists(1)
	c.readable(lists)
	for where, want := range map[string]int{
		"":                                 hosts,
		"id+EQ+77":                         1,
		"name+CP+'%25-000077.example'":     1,
		"ip4+EQ+'100.64.0.78'":             1,
		"ip4+CP+'100.64.%25'":              hosts,
		"NOT+ip6+IS+null":                  hosts / 5,
		"disk_count+EQ+2":                  hosts / 10,
		"account.email+CP+'%25@%25'":       hosts,
		"id+GT+99999999999":                0,
		"node.maintenance_mode+EQ+false":   0,
		"cluster.name+CP+'CLUSTER-%25'":    hosts,
		"create_date+GT+'2000-01-01'":      hosts,
		"state+EQ+'no'+OR+id+LE+10":        10,
		"internal_name+EQ+'no+such+thing'": 0,
	} {
		if n := number(c.must("GET", "/vm/v3/host?limit=1&where="+where, nil), "size"); n != want {
			t.Errorf("%s: %d hosts, want %d", where, n, want)
		}
	}
	// Numbers by counter are those by counting: "id GT 0" is what no counter knows.
	for _, state := range []string{"active", "stopped", "paused", "crashed"} {
		fast := number(c.must("GET", "/vm/v3/host?limit=1&where=state+EQ+"+state, nil), "size")
		slow := number(c.must("GET", "/vm/v3/host?limit=1&where=id+GT+0+AND+state+EQ+"+state, nil), "size")
		if fast != slow || fast == 0 {
			t.Errorf("%s: %d by counter, %d counted", state, fast, slow)
		}
	}
	user := s.user(c)
	if l := user.list("/vm/v3/host"); len(l) != 0 {
		t.Errorf("a new user sees %v", l)
	}
	if status, body := user.do("GET", "/vm/v3/host?explain=1", nil); status != 403 {
		t.Errorf("explained to a user: %d %v", status, body)
	}
	hostile(t, 10_000, []*client{c, user}, lists)
}
