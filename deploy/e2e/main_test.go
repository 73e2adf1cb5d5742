//go:build e2e && (!remote || real)

package e2e

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// TestMainPath is the life of a real virtual machine, from the first login to the last trace.
func TestMainPath(t *testing.T) {
	s := realStack(t)
	c := s.login()

	// What the first start made.
	if l := c.list("/vm/v3/cluster"); len(l) != 1 || l[0]["virtualization_type"] != "kvm" {
		t.Errorf("clusters %v", l)
	}
	nodes := c.list("/vm/v3/node")
	if len(nodes) != 1 {
		t.Fatalf("nodes %v", nodes)
	}
	n := nodes[0]
	if number(n["cpu"].(object), "number") != runtime.NumCPU() || number(n["ram_mib"].(object), "total") != memTotal(t) || n["state"] != "active" ||
		number(n["storage"].(object), "size_mib") == 0 || n["qemu_version"] == "" || n["libvirt_version"] == "" || n["kernel_version"] == "" {
		t.Errorf("node %v", n)
	}
	if l := c.list("/vm/v3/account"); len(l) == 0 || l[0]["email"] != adminEmail {
		t.Errorf("accounts %v", l)
	}
	if l := c.list("/vm/v3/ippool"); len(l) == 0 {
		t.Errorf("pools %v", l)
	}

	// A network of one's own.
	net := c.must("POST", "/vm/v3/userspace/public/ipnet", object{"name": "198.18.77.0/24", "gateway": "198.18.77.1", "note": "e2e"})
	pool := number(c.must("POST", "/ip/v3/userspace/public/ippool", object{"name": "e2e", "note": ""}), "id")
	c.must("POST", fmt.Sprintf("/vm/v3/ippool/%d/range", pool), object{"name": "198.18.77.20-198.18.77.21"})
	c.must("POST", fmt.Sprintf("/api/vm/v3/ippool/%d/cluster", pool), object{"clusters": []object{{"id": 1, "interface": 0}}})
	c.must("POST", "/ip/v3/userspace/public/ipnet", object{"name": "fd77:198:18::/64"})
	c.must("POST", fmt.Sprintf("/ip/v3/ippool/%d/range", pool), object{"name": "fd77:198:18::/112"})
	if got := c.must("GET", fmt.Sprintf("/ip/v3/ipnet/%d", number(net, "id")), nil); got["name"] != "198.18.77.0/24" {
		t.Errorf("network %v", got)
	}

	// A host, with the body that a real client sends.
	key := newKey(t)
	made := c.must("POST", "/vm/v3/host", fmt.Sprintf(`{"account":1,"anti_spoofing":false,"cluster":1,"comment":"testing",
		"cpu_mode":"default","cpu_number":1,"domain":"mein.example.com","hdd_mib":256,"ipv4_number":1,"ipv4_pool":[%d],"ipv6_enabled":true,"name":"mein",
		"node":1,"os":%d,"password":"guest-Pass-1","ram_mib":256,"recipe_list":null,"custom_interfaces":null,
		"preset":0,"vxlan":null,"ssh_keys":[%q]}`, pool, c.tiny(), strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key.PublicKey())))))
	id, task := number(made, "id"), number(made, "task")
	if first := c.task(task); first["name"] != "host_create" || first["status"] != "created" && first["status"] != "running" && first["status"] != "complete" {
		t.Errorf("task %v", first)
	}
	c.complete(made)
	h := c.host(id)
	addr, addr6 := h["ip4"].([]any)[0].(object)["ip"].(string), h["ip6"].([]any)[0].(object)["ip"].(string)
	if h["state"] != "active" || !strings.HasPrefix(addr6, "fd77:198:18::") || addr != "198.18.77.20" || h["domain"] != "mein.example.com" {
		t.Errorf("host %v", h)
	}
	if nested := c.must("GET", fmt.Sprintf("/vm/v3/task/%d", task), nil); nested["task"].(object)["status"] != "complete" || nested["status"] != "complete" {
		t.Errorf("task %v", nested)
	}
	if l := c.list(fmt.Sprintf("/vm/v3/host/%d/ipv4", id)); len(l) != 1 || l[0]["ip_addr"] != addr || l[0]["gateway"] != "198.18.77.1" || l[0]["mask"] != "255.255.255.0" {
		t.Errorf("addresses %v", l)
	}

	// The guest got all that from its seed.
	c.console(id, "slipway-guest ready mein "+addr)
	for name, auth := range map[string]ssh.AuthMethod{"password": ssh.Password("guest-Pass-1"), "key": ssh.PublicKeys(key)} {
		out := onGuest(t, addr, auth, "hostname; ip route; cat /etc/resolv.conf")
		if !strings.HasPrefix(out, "mein\n") || !strings.Contains(out, "default via 198.18.77.1") || !strings.Contains(out, "nameserver") {
			t.Errorf("by %s: %s", name, out)
		}
	}

	if out := onGuest(t, addr6, ssh.Password("guest-Pass-1"), "ip -6 route"); !strings.Contains(out, "default via fd77:198:18::1") {
		t.Errorf("IPv6: %s", out)
	}

	// Power and names, each through a task.
	path := fmt.Sprintf("/vm/v3/host/%d", id)
	c.must("POST", path, object{"name": "renamed", "comment": "new"})
	c.complete(c.must("POST", path+"/stop", nil))
	if h := c.host(id); h["state"] != "stopped" || h["name"] != "renamed" {
		t.Errorf("after stop: %v", h)
	}
	c.complete(c.must("POST", path+"/start", nil))
	restart := c.must("POST", "/api"+path+"/restart", object{"force": true})
	if number(restart, "start_task") == 0 {
		t.Errorf("restart %v", restart)
	}
	c.complete(restart)
	if h := c.host(id); h["state"] != "active" {
		t.Errorf("after restart: %v", h)
	}
	hist := c.must("GET", path+"/history", nil)
	if l := hist["list"].([]any); len(l) != 4 || number(hist, "max_id") != number(restart, "task") {
		t.Errorf("history %v", hist)
	}

	// Stopping the stack leaves the machine alone; the next start finds it.
	s.again(1)
	c = s.login()
	if h := c.host(id); h["state"] != "active" {
		t.Errorf("found again: %v", h)
	}
	c.console(id, "slipway-guest ready mein "+addr)

	// A delete leaves no trace.
	c.complete(c.must("DELETE", path, nil))
	if status, body := c.do("GET", path, nil); status != 404 {
		t.Errorf("deleted host: %d %v", status, body)
	}
	for _, a := range c.list("/vm/v3/ip") {
		if a["state"] == "assigned" || a["state"] == "reserved" {
			t.Errorf("address left: %v", a)
		}
	}
	s.noTrace()
	s.again(0)
}

// memTotal is the machine's RAM in MiB, read without our own code.
func memTotal(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		t.Fatal(err)
	}
	var kib int
	if _, err := fmt.Sscanf(string(text), "MemTotal: %d kB", &kib); err != nil {
		t.Fatal(err)
	}
	return kib / 1024
}

func newKey(t *testing.T) ssh.Signer {
	t.Helper()
	_, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	k, err := ssh.NewSignerFromKey(priv)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// onGuest runs a command as root on a guest.
func onGuest(t *testing.T, addr string, auth ssh.AuthMethod, command string) string {
	t.Helper()
	cfg := &ssh.ClientConfig{
		User: "root", Auth: []ssh.AuthMethod{auth}, Timeout: 20 * time.Second,
		HostKeyCallback: ssh.InsecureIgnoreHostKey(), // the guest makes a new key at every boot
	}
	conn, err := ssh.Dial("tcp", net.JoinHostPort(addr, "22"), cfg)
	if err != nil {
		t.Fatalf("ssh to %s: %v", addr, err)
	}
	defer conn.Close()
	session, err := conn.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	out, err := session.CombinedOutput(command)
	if err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return string(out)
}
