//go:build e2e && (!remote || real)

package e2e

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// TestAddresses: a real host gets a second address and loses it. The node's rules follow at once, the guest at its next
// start; what is taken away cannot be used by the guest, whatever it configures.
func TestAddresses(t *testing.T) {
	s := realStack(t)
	c := s.login()
	network := number(c.must("POST", "/ip/v3/userspace/public/ipnet",
		object{"name": "198.18.78.0/24", "gateway": "198.18.78.1", "dns_servers": []string{"198.18.78.53"}}), "id")
	pool := number(c.must("POST", "/vm/v3/userspace/public/ippool", object{"name": "addresses"}), "id")
	c.must("POST", fmt.Sprintf("/vm/v3/ippool/%d/range", pool), object{"name": "198.18.78.20-198.18.78.23"})
	c.must("POST", fmt.Sprintf("/vm/v3/ippool/%d/cluster", pool), object{"clusters": []object{{"id": 1, "interface": 0}}})

	made := c.must("POST", "/vm/v3/host", object{
		"name": "two", "os": c.tiny(), "password": "guest-Pass-1", "hdd_mib": 256, "ram_mib": 256, "ipv4_pool": []int{pool}, "anti_spoofing": true,
	})
	c.complete(made)
	path := fmt.Sprintf("/vm/v3/host/%d", number(made, "id"))
	first, second, pass := "198.18.78.20", "198.18.78.21", ssh.Password("guest-Pass-1")
	c.console(number(made, "id"), "slipway-guest ready two "+first)
	if out := onGuest(t, first, pass, "cat /etc/resolv.conf"); !strings.Contains(out, "198.18.78.53") {
		t.Errorf("name servers of the network: %s", out)
	}

	// The guest configures the next address without permission: no packet comes through.
	take := "ip addr add " + second + "/24 dev eth0; ping -c 1 -W 2 -I " + second + " 198.18.78.1 >/dev/null && echo reached || echo nothing"
	if out := onGuest(t, first, pass, take); !strings.Contains(out, "nothing") {
		t.Errorf("an address that is not the host's: %s", out)
	}
	onGuest(t, first, pass, "ip addr del "+second+"/24 dev eth0")

	// Now it is given: the node lets it through at once, before the guest knows.
	answer := c.must("POST", path+"/ip", object{"ipv4_number": 1, "ipv4_pool": []int{pool}, "ip_addr": object{}, "ipv6_prefix": nil})
	c.complete(answer)
	if task := c.task(number(answer, "task")); task["name"] != "ip_change" {
		t.Errorf("task %v", task)
	}
	list := c.list(path + "/ipv4")
	if len(list) != 2 || list[1]["ip_addr"] != second || list[1]["state"] != "active" {
		t.Fatalf("addresses %v", list)
	}
	if out := onGuest(t, first, pass, take); !strings.Contains(out, "reached") {
		t.Errorf("an address that is the host's by now: %s", out)
	}
	c.complete(c.must("POST", path+"/restart", nil))
	reach(t, second)
	if out := onGuest(t, second, pass, "ip -4 addr show dev eth0; ip route"); !strings.Contains(out, first+"/24") || !strings.Contains(out, second+"/24") {
		t.Errorf("after a restart: %s", out)
	}

	// Names.
	id := number(list[1], "id")
	c.must("POST", fmt.Sprintf("/vm/v3/ip/%d/ptr", id), object{"domain": "two.example.com"})
	if l := c.list(path + "/ipv4"); l[1]["domain"] != "two.example.com" {
		t.Errorf("PTR %v", l)
	}
	if a := c.must("GET", fmt.Sprintf("/ip/v3/ip/%d", id), nil); a["domain"] != "two.example.com" || a["status"] != "assigned" {
		t.Errorf("address %v", a)
	}

	// It goes again. The main address does not, without force.
	if status, body := c.do("DELETE", fmt.Sprintf("/vm/v3/ip/%d", number(list[0], "id")), nil); status != 409 {
		t.Errorf("the main address: %d %v", status, body)
	}
	answer = c.must("DELETE", fmt.Sprintf("/vm/v3/ip/%d", id), nil)
	c.complete(answer)
	if task := c.task(number(answer, "task")); task["name"] != "ip_delete" {
		t.Errorf("task %v", task)
	}
	if out := onGuest(t, first, pass, "ping -c 1 -W 2 -I "+second+" 198.18.78.1 >/dev/null && echo reached || echo nothing"); !strings.Contains(out, "nothing") {
		t.Errorf("an address that is the host's no more: %s", out)
	}
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		a := c.must("GET", fmt.Sprintf("/ip/v3/ip/%d", id), nil)
		if a["state"] == "quarantined" && a["domain"] == "" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("not given back: %v", a)
		}
	}
	h := c.must("GET", fmt.Sprintf("/vm/v3/ip/%d/history", id), nil)["list"].([]any)
	if len(h) != 1 || h[0].(object)["owner"] != c.host(number(made, "id"))["internal_name"] || h[0].(object)["date_to"] == "" {
		t.Errorf("history %v", h)
	}
	if st := c.must("GET", fmt.Sprintf("/ip/v3/ippool/%d/stats", pool), nil); number(st, "total") != 4 || number(st, "assigned") != 1 || number(st, "quarantined") != 1 || st["utilization_pct"] != 25.0 {
		t.Errorf("statistics %v", st)
	}
	if st := c.must("GET", fmt.Sprintf("/vm/v3/ipnet/%d/stats", network), nil); number(st, "free") != 2 {
		t.Errorf("statistics %v", st)
	}
	c.complete(c.must("POST", path+"/restart", nil))
	reach(t, first)
	if out := onGuest(t, first, pass, "ip -4 addr show dev eth0"); strings.Contains(out, second) {
		t.Errorf("after a restart: %s", out)
	}
	c.complete(c.must("DELETE", path, nil))
	s.noTrace()
}

// reach waits until the guest takes SSH connections at an address.
func reach(t *testing.T, addr string) {
	t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		conn, err := net.DialTimeout("tcp", net.JoinHostPort(addr, "22"), 2*time.Second)
		if err == nil {
			_ = conn.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is not reached: %v", addr, err)
		}
	}
}
