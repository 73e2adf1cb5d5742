//go:build e2e && (!remote || real)

package e2e

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

// TestDiskOfTwoHosts: a disk is attached to a running guest, which writes to it; it is detached and attached to another running
// guest, which reads what was written. The first guest runs on all the while.
func TestDiskOfTwoHosts(t *testing.T) {
	s := realStack(t)
	c := s.login()
	c.must("POST", "/ip/v3/userspace/public/ipnet", object{"name": "198.18.88.0/24", "gateway": "198.18.88.1"})
	pool := number(c.must("POST", "/vm/v3/userspace/public/ippool", object{"name": "disks"}), "id")
	c.must("POST", fmt.Sprintf("/vm/v3/ippool/%d/range", pool), object{"name": "198.18.88.20-198.18.88.21"})
	c.must("POST", fmt.Sprintf("/vm/v3/ippool/%d/cluster", pool), object{"clusters": []object{{"id": 1, "interface": 0}}})
	pass := "guest-Pass-1"
	var ids []int
	for _, name := range []string{"writer", "reader"} {
		made := c.must("POST", "/vm/v3/host", object{
			"name": name, "os": c.tiny(), "password": pass, "ram_mib": 256, "hdd_mib": 128, "ipv4_pool": []int{pool},
		})
		c.complete(made)
		ids = append(ids, number(made, "id"))
	}
	addr := func(id int) string { return fmt.Sprint(c.list(fmt.Sprintf("/vm/v3/host/%d/ipv4", id))[0]["ip_addr"]) }
	on := func(id int, command string) string {
		t.Helper()
		reach(t, addr(id))
		return strings.TrimSpace(onGuest(t, addr(id), ssh.Password(pass), command))
	}
	node := number(c.list(fmt.Sprintf("/vm/v3/disk?where=host+EQ+%d", ids[0]))[0]["node"].(object), "id")
	made := c.must("POST", "/vm/v3/disk", object{"name": "data", "size_mib": 64, "node": node})
	c.complete(made)
	disk := number(made, "id")
	// The guest knows the disk by its serial number, whatever its device is called.
	device := fmt.Sprintf("d=$(grep -lx vol%d /sys/block/vd*/serial | cut -d/ -f4); ", disk)
	way := func(id int) string { return fmt.Sprintf("/vm/v3/host/%d/disk/%d", id, disk) }

	booted := on(ids[0], "cut -d. -f1 /proc/uptime")
	c.complete(c.must("POST", way(ids[0]), object{}))
	if got := on(ids[0], device+"cat /sys/block/$d/size"); got != fmt.Sprint(64<<11) {
		t.Fatalf("the guest sees %q sectors", got)
	}
	on(ids[0], device+"echo marked | dd of=/dev/$d bs=1M seek=10 2>/dev/null; sync")
	c.complete(c.must("POST", fmt.Sprintf("/vm/v3/disk/%d", disk), object{"size_mib": 96}))
	if got := on(ids[0], device+"cat /sys/block/$d/size"); got != fmt.Sprint(96<<11) {
		t.Errorf("the guest sees %q sectors of the larger disk", got)
	}
	c.complete(c.must("DELETE", way(ids[0]), nil))
	if got := on(ids[0], "grep -lx vol"+fmt.Sprint(disk)+" /sys/block/vd*/serial || echo none"); got != "none" {
		t.Errorf("detached, and the guest has %q", got)
	}
	s.fsck()
	c.complete(c.must("POST", way(ids[1]), object{}))
	if got := on(ids[1], device+"dd if=/dev/$d bs=1M skip=10 count=1 2>/dev/null | head -c 6"); got != "marked" {
		t.Errorf("the other guest reads %q", got)
	}
	if up := on(ids[0], "cut -d. -f1 /proc/uptime"); len(up) < len(booted) || len(up) == len(booted) && up < booted {
		t.Errorf("the first guest has been up for %s s, before for %s s", up, booted)
	}
	c.complete(c.must("POST", fmt.Sprintf("/vm/v3/host/%d/restart", ids[1]), object{}))
	if got := on(ids[1], device+"dd if=/dev/$d bs=1M skip=10 count=1 2>/dev/null | head -c 6"); got != "marked" {
		t.Errorf("after a restart the other guest reads %q", got)
	}
	for _, id := range ids {
		c.complete(c.must("DELETE", fmt.Sprintf("/vm/v3/host/%d", id), nil))
	}
	s.noTrace()
}
