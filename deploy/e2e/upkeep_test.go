//go:build e2e && (!remote || real)

package e2e

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

// TestUpkeep: a real guest gets another password while it runs, and another system: it keeps its address, its hardware
// address and its second disk, and earlier passwords are worth nothing.
func TestUpkeep(t *testing.T) {
	s := realStack(t)
	c := s.login()
	c.must("POST", "/ip/v3/userspace/public/ipnet", object{"name": "198.18.87.0/24", "gateway": "198.18.87.1"})
	pool := number(c.must("POST", "/vm/v3/userspace/public/ippool", object{"name": "upkeep"}), "id")
	c.must("POST", fmt.Sprintf("/vm/v3/ippool/%d/range", pool), object{"name": "198.18.87.20-198.18.87.21"})
	c.must("POST", fmt.Sprintf("/vm/v3/ippool/%d/cluster", pool), object{"clusters": []object{{"id": 1, "interface": 0}}})
	passwords := []string{"guest-Pass-1", "guest-Pass-2", "guest-Pass-3"}
	made := c.must("POST", "/vm/v3/host", object{
		"name": "kept", "os": c.tiny(), "password": passwords[0], "ram_mib": 256, "ipv4_pool": []int{pool},
		"disks": []object{{"size_mib": 256}, {"size_mib": 64, "name": "data"}},
	})
	c.complete(made)
	id, addr := number(made, "id"), "198.18.87.20"
	path := fmt.Sprintf("/vm/v3/host/%d", id)
	c.console(id, "slipway-guest ready kept "+addr)
	before := c.host(id)
	only := func(n int) {
		t.Helper()
		for i, p := range passwords {
			if in := lets(addr, ssh.Password(p)); in != (i == n) {
				t.Errorf("password %d lets in: %v, want number %d", i, in, n)
			}
		}
	}
	only(0)
	mark := "echo marked | dd of=/dev/vda bs=1M seek=200 2>/dev/null; echo marked | dd of=/dev/vdb bs=1M seek=10 2>/dev/null; sync"
	onGuest(t, addr, ssh.Password(passwords[0]), mark)
	marks := func() string {
		t.Helper()
		p := passwords[2]
		return onGuest(t, addr, ssh.Password(p), "for d in vda:200 vdb:10; do dd if=/dev/${d%:*} bs=1M skip=${d#*:} count=1 2>/dev/null | head -c 6 | tr '\\0' .; echo; done")
	}

	c.complete(c.must("POST", path+"/guest_agent", nil))
	answer := c.must("POST", path+"/password", object{"password": passwords[1]})
	c.complete(answer)
	if task := c.task(number(answer, "task")); !strings.Contains(fmt.Sprint(task["output"]), "guest agent has set") {
		t.Errorf("task %v", task)
	}
	only(1)

	answer = c.must("POST", path+"/reinstall", object{"os": c.tiny(), "password": passwords[2], "send_email_mode": "saas_only"})
	c.complete(answer)
	if task := c.task(number(answer, "task")); task["name"] != "host_reinstall" {
		t.Errorf("task %v", task)
	}
	reach(t, addr)
	after := c.host(id)
	for _, field := range []string{"ip4", "interfaces", "account", "internal_name", "disk", "disk_count", "domain"} {
		if fmt.Sprint(before[field]) != fmt.Sprint(after[field]) {
			t.Errorf("%s: %v, was %v", field, after[field], before[field])
		}
	}
	only(2)
	if got := strings.TrimSpace(marks()); got != "......\nmarked" {
		t.Errorf("the disks have %q", got)
	}
	c.complete(c.must("DELETE", path, nil))
	s.noTrace()
}

// lets reports whether a guest takes a login of root.
func lets(addr string, auth ssh.AuthMethod) bool {
	conn, err := ssh.Dial("tcp", addr+":22", &ssh.ClientConfig{
		User: "root", Auth: []ssh.AuthMethod{auth}, HostKeyCallback: ssh.InsecureIgnoreHostKey(), // the guest makes a new key at every boot
	})
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}
