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

// TestResources: a running guest sees more CPUs and memory, gives them back at its next start, and its firewall holds in both
// directions.
func TestResources(t *testing.T) {
	s := realStack(t)
	c := s.login()
	c.must("POST", "/ip/v3/userspace/public/ipnet", object{"name": "198.18.79.0/24", "gateway": "198.18.79.1"})
	pool := number(c.must("POST", "/vm/v3/userspace/public/ippool", object{"name": "resources"}), "id")
	c.must("POST", fmt.Sprintf("/vm/v3/ippool/%d/range", pool), object{"name": "198.18.79.20"})
	c.must("POST", fmt.Sprintf("/vm/v3/ippool/%d/cluster", pool), object{"clusters": []object{{"id": 1, "interface": 0}}})
	made := c.must("POST", "/vm/v3/host", object{
		"name": "grows", "os": c.tiny(), "password": "guest-Pass-1", "ram_mib": 256, "ipv4_pool": []int{pool}, "hot_plug": true,
		"net_in_mbitps": 200, "io_write_mbitps": 800,
		"firewall_rules": []object{{"action": "drop", "direction": "out", "protocols": []string{"tcp"}, "portstart": 25}},
	})
	c.complete(made)
	id := number(made, "id")
	path, addr, pass := fmt.Sprintf("/vm/v3/host/%d", id), "198.18.79.20", ssh.Password("guest-Pass-1")
	c.console(id, "slipway-guest ready grows "+addr)
	reach(t, addr)
	change := func(body object) {
		t.Helper()
		answer := c.must("POST", path+"/resource", body)
		c.complete(answer)
		if task := c.task(number(answer, "task")); task["name"] != "host_change_params" || number(answer, "id") != id {
			t.Errorf("task %v", task)
		}
	}
	size := func(when string, cpus, ram, cpusNew, ramNew int) {
		t.Helper()
		h := c.host(id)
		if number(h, "cpu_number") != cpus || number(h, "ram_mib") != ram || number(h, "cpu_number_new") != cpusNew || number(h, "ram_mib_new") != ramNew {
			t.Errorf("%s: %v CPUs, %v MiB, waiting are %v, %v", when, h["cpu_number"], h["ram_mib"], h["cpu_number_new"], h["ram_mib_new"])
		}
	}
	has := func(cpus string, least, most int) {
		t.Helper()
		var online string
		var kib int
		if _, err := fmt.Sscan(onGuest(t, addr, pass, "cat /sys/devices/system/cpu/online; awk '/MemTotal/ {print $2}' /proc/meminfo"), &online, &kib); err != nil {
			t.Fatal(err)
		}
		if online != cpus || kib < least<<10 || kib > most<<10 {
			t.Errorf("the guest has CPUs %s and %d KiB, want %s and %d to %d MiB", online, kib, cpus, least, most)
		}
	}
	has("0", 128, 256)
	change(object{"cpu_number": 4, "ram_mib": 512, "cpu_mode": "default"})
	size("grown", 4, 512, 4, 512)
	c.console(id, "slipway-guest has CPUs 0-3, memory")
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		if !strings.Contains(onGuest(t, addr, pass, "cat /sys/devices/system/memory/memory*/online"), "0") {
			break // all of it is in use
		}
	}
	has("0-3", 384, 512)

	packets(t, c, path, addr, pass, change)

	change(object{"cpu_number": 2, "ram_mib": 256})
	size("smaller later", 4, 512, 2, 256)
	c.complete(c.must("POST", path+"/restart", object{"force": true}))
	size("smaller", 2, 256, 2, 256)
	reach(t, addr)
	has("0-1", 128, 256)
	c.complete(c.must("DELETE", path, nil))
	s.noTrace()
}

// packets proves the firewall of a running guest by connections from both sides.
func packets(t *testing.T, c *client, path, addr string, pass ssh.AuthMethod, change func(object)) {
	t.Helper()
	l, err := net.Listen("tcp", "198.18.79.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	}()
	port := l.Addr().(*net.TCPAddr).Port
	try := fmt.Sprintf("nc -w 2 198.18.79.1 %d </dev/null && echo reached || echo nothing", port)
	if out := onGuest(t, addr, pass, try); !strings.Contains(out, "reached") {
		t.Errorf("before the rule: %s", out)
	}
	rule := func(direction string, port int) object {
		return object{"firewall_rules": []object{{"action": "drop", "direction": direction, "protocols": []string{"tcp"}, "portstart": port}}}
	}
	change(rule("out", port))
	if out := onGuest(t, addr, pass, try); !strings.Contains(out, "nothing") {
		t.Errorf("with the rule: %s", out)
	}
	change(rule("in", 22))
	if conn, err := net.DialTimeout("tcp", net.JoinHostPort(addr, "22"), time.Second); err == nil {
		_ = conn.Close()
		t.Error("a port that the firewall closes is open")
	}
	if rules := c.must("GET", path, nil)["firewall_rules"].([]any); len(rules) != 1 || rules[0].(object)["direction"] != "in" {
		t.Errorf("rules %v", rules)
	}
	change(object{"firewall_rules": []object{}})
	reach(t, addr)
	if out := onGuest(t, addr, pass, try); !strings.Contains(out, "reached") {
		t.Errorf("without rules: %s", out)
	}
}
