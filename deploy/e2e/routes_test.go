//go:build e2e && !remote

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"
	"golang.org/x/crypto/ssh"

	"slipway.dev/pkg/fetch/cdtest"
)

// unreached are routes whose success a test cannot cause here.
var unreached = []string{
	"POST /vm/v3/catalogue/{name}/import",          // downloads from the publisher
	"POST /vm/v3/parked/{consumer}/{event}/replay", // needs an event that a service refused
	"DELETE /vm/v3/parked/{consumer}/{event}",      // likewise
	"GET /vm/v3/host/{id}/metrics",                 // needs a metrics server: TestHostMetrics
	"GET /vm/v3/console",                           // a WebSocket: TestConsoles
	"POST /vm/v3/task/{id}/abort",                  // a task may be over by then: services/vm, TestAbort
}

// TestEveryRoute calls every route of the dialect once. What answers look like is compared with the table where they arrive.
func TestEveryRoute(t *testing.T) {
	s := newStack(t, "sim", "SLIPWAY_IP_QUARANTINE=1s", mirror)
	c := s.login()
	for _, walk := range []func(*client){everyAuth, everyTOTP, everyAccount, everyNetwork, everyHost, everyUpkeep} {
		walk(c)
	}
	table, err := table()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range table.Routes() {
		if !s.answered.routes[name] && !slices.Contains(unreached, name) {
			t.Errorf("%s was not called", name)
		}
	}
}

// ok makes a request that has to succeed, with whichever status.
func (c *client) ok(method, path string, body any) object {
	c.s.t.Helper()
	status, o := c.do(method, path, body)
	if status >= 300 {
		c.s.t.Errorf("%s %s: %d %v", method, path, status, o)
	}
	return o
}

// at is a path with the id that an answer holds.
func at(form string, answer object) string { return fmt.Sprintf(form, number(answer, "id")) }

func everyAuth(c *client) {
	for _, path := range []string{
		"/auth/v4/whoami", "/auth/v4/self/session", "/auth/v4/token", "/auth/v4/setting", "/auth/v4/setting/token_ttl", "/auth/v4/scope",
		"/auth/v4/audit", "/auth/v4/audit/verify", "/auth/v4/user", "/vm/v3/user", "/auth/v4/user/" + adminEmail, "/vm/v3/user/" + adminEmail,
	} {
		c.ok("GET", path, nil)
	}
	c.ok("POST", "/auth/v4/setting/token_ttl", object{"value": "61"})
	for _, path := range []string{"/auth/v3/auth", "/vm/v3/public/auth"} {
		c.ok("POST", path, object{"email": c.s.email, "password": c.s.password})
	}
	for _, path := range []string{"/auth/v4/token/%s", "/auth/v3/session/%s"} {
		token := c.ok("POST", "/auth/v4/token", object{"expires_at": nil, "description": "one of many"})["token"]
		c.ok("DELETE", fmt.Sprintf(path, token), nil)
	}
	for path, redeem := range map[string][]string{
		"/auth/v4/user/" + adminEmail + "/key": {"/auth/v4/public/key", "/auth/v4/public/auth_by_key"},
		"/auth/v3/user/" + adminEmail + "/key": {"/auth/v3/auth_by_key"},
	} {
		for _, r := range redeem {
			c.ok("POST", r, object{"key": c.ok("POST", path, nil)["key"]})
		}
	}
	key := c.ok("POST", "/auth/v4/apikey", object{"name": "k", "scopes": []string{"vms.read"}})
	c.ok("GET", "/auth/v4/apikey", nil)
	c.ok("GET", at("/auth/v4/apikey/%d", key), nil)
	c.ok("POST", at("/auth/v4/apikey/%d", key), object{"name": "l"})
	c.ok("DELETE", at("/auth/v4/apikey/%d", key), nil)
	role := c.ok("POST", "/auth/v4/role", object{"name": "reader", "scopes": []string{"vms.read"}})
	c.ok("GET", "/auth/v4/role", nil)
	c.ok("GET", at("/auth/v4/role/%d", role), nil)
	c.ok("POST", at("/auth/v4/role/%d", role), object{"description": "reads"})
	c.ok("DELETE", at("/auth/v4/role/%d", role), nil)
	for i, path := range []string{"/auth/v4/user/1/sshkey", "/auth/v3/user/1/sshkey"} {
		key := c.ok("POST", path, object{"name": fmt.Sprint("k", i), "ssh_pub_key": strings.TrimSpace(string(ssh.MarshalAuthorizedKey(newKey(c.s.t).PublicKey())))})
		c.ok("GET", path, nil)
		c.ok("DELETE", at(path+"/%d", key), nil)
	}
	session := c.s.login()
	session.ok("POST", "/auth/v4/self", object{"full_name": "The Administrator"})
	session.ok("POST", "/auth/v4/self/password", object{"old_password": c.s.password, "password": c.s.password + "2"})
	session.ok("POST", "/auth/v4/self/password", object{"old_password": c.s.password + "2", "password": c.s.password})
	session.ok("DELETE", "/auth/v4/self/session", nil)
	c.token = c.s.login().token
}

func everyTOTP(c *client) {
	for _, off := range []string{"DELETE /auth/v4/self/totp?code=%s", "POST /auth/v4/self/totp/disable", "DELETE /auth/v4/user/%s/totp", "DELETE /vm/v3/user/%s/totp"} {
		email := unique("factor")
		c.ok("POST", "/auth/v4/user", object{"email": email, "role": "@user", "password": "Factor-Password-1"})
		user := &client{s: c.s}
		user.token = user.ok("POST", "/auth/v4/public/token", object{"email": email, "password": "Factor-Password-1"})["token"].(string)
		user.ok("GET", "/auth/v4/self/totp", nil)
		secret := user.ok("POST", "/auth/v4/self/totp", object{"password": "Factor-Password-1"})["secret"].(string)
		code, err := totp.GenerateCode(secret, time.Now())
		if err != nil {
			c.s.t.Fatal(err)
		}
		codes := user.ok("POST", "/auth/v4/self/totp/confirm", object{"code": code})["recovery_codes"].([]any)
		codes = user.ok("POST", "/auth/v4/self/totp/recovery", object{"code": codes[0]})["recovery_codes"].([]any)
		method, path, _ := strings.Cut(off, " ")
		switch {
		case strings.Contains(path, "?"):
			user.ok(method, fmt.Sprintf(path, codes[0]), nil)
		case method == "POST":
			user.ok(method, path, object{"code": codes[0]})
		default:
			c.ok(method, fmt.Sprintf(path, email), nil)
		}
	}
}

func everyAccount(c *client) {
	c.ok("GET", "/vm/v3/account", nil)
	c.ok("GET", "/vm/v3/account/1", nil)
	c.ok("GET", "/vm/v3/user_limits/account/1", nil)
	c.ok("POST", "/vm/v3/user_limits/account/1", object{"vxlan_count_total": 3, "host_count": nil})
	if l := c.ok("GET", "/vm/v3/user_limits/account/1", nil); number(l, "vxlan_count_total") != 3 {
		c.s.t.Errorf("limits %v", l)
	}
	for base, made := range map[string]string{"/auth/v4/user": "/auth/v4/user", "/vm/v3/user": "/vm/v3/account", "/vm/v3/account": "/vm/v3/account"} {
		user := c.ok("POST", made, object{"email": unique("every"), "role": "@user", "password": "Every-Password-1"})
		path := at(base+"/%d", user)
		c.ok("POST", path, object{"full_name": "Every One", "password": ""})
		c.ok("POST", path+"/password", object{"password": "Every-Password-2", "roles": nil, "full_name": ""})
		c.ok("POST", path+"/suspend", nil)
		c.ok("POST", path+"/resume", nil)
		c.ok("DELETE", path, nil)
	}
}

func everyNetwork(c *client) {
	for i, base := range []string{"/ip/v3", "/vm/v3"} {
		prefix := fmt.Sprintf("198.19.%d", i)
		net := c.ok("POST", base+"/userspace/public/ipnet", object{"name": prefix + ".0/24", "note": "", "need_reserve": true, "vlan": nil})
		path := at(base+"/ipnet/%d", net)
		c.ok("POST", path, object{"note": "n", "name": prefix + ".0/24"})
		pool := c.ok("POST", base+"/userspace/public/ippool", object{"name": "every " + prefix})
		part := c.ok("POST", at(base+"/ippool/%d/range", pool), object{"name": prefix + ".9"})
		six := c.ok("POST", base+"/userspace/public/ipnet", object{"name": fmt.Sprintf("fd19:%d::/64", i)})
		six6 := c.ok("POST", at(base+"/ippool/%d/range", pool), object{"name": fmt.Sprintf("fd19:%d::10-fd19:%d::20", i, i)})
		c.ok("POST", at("/vm/v3/ippool/%d/cluster", pool), object{"clusters": []object{{"id": 1, "interface": 0, "enabled": true, "name": "any"}}})
		c.ok("POST", at(base+"/ippool/%d", pool), object{"note": "changed"})
		for _, get := range []string{"/ip", "/ipnet", "/ippool", "/range"} {
			c.ok("GET", base+get, nil)
		}
		for _, get := range []string{path, path + "/stats", path + "/history", at(base+"/ippool/%d", pool), at(base+"/ippool/%d/stats", pool)} {
			c.ok("GET", get, nil)
		}
		held := c.ok("POST", at(base+"/ippool/%d/reserve", pool), object{"ip_addr": fmt.Sprintf("fd19:%d::11", i), "note": "kept"})
		c.ok("POST", at(base+"/ip/%d/free", held), nil)
		l := c.list(fmt.Sprintf("%s/ip?where=(ippool+EQ+%d)+AND+(state+EQ+'free')", base, number(pool, "id")))
		if len(l) != 1 {
			c.s.t.Fatalf("addresses %v", l)
		}
		addr := at(base+"/ip/%d", l[0])
		c.ok("GET", addr, nil)
		c.ok("POST", addr+"/reserve", object{"note": "kept"})
		c.ok("GET", addr+"/history", nil)
		c.ok("POST", addr+"/ptr", object{"domain": "every.example.com"})
		c.ok("POST", addr+"/free", nil)
		for _, path := range []string{at(base+"/range/%d", part), at(base+"/range/%d", six6), at(base+"/ippool/%d", pool), path, at(base+"/ipnet/%d", six)} {
			c.ok("DELETE", path, nil)
		}
	}
	c.ok("GET", "/ip/v3/setting/quarantine_seconds", nil)
	c.ok("POST", "/ip/v3/setting/quarantine_seconds", object{"value": "1"})
}

func everyHost(c *client) {
	for _, path := range []string{
		"/vm/v3/cluster", "/vm/v3/cluster/1", "/vm/v3/node", "/vm/v3/node/1", "/vm/v3/node/1/stranger", "/vm/v3/os", "/vm/v3/os/1",
		"/vm/v3/os/all", "/vm/v3/catalogue", "/vm/v3/fsck", "/vm/v3/audit", "/vm/v3/parked", "/vm/v3/task",
	} {
		c.ok("GET", path, nil)
	}
	c.ok("POST", "/vm/v3/node/1/breaker/reset", nil)
	c.ok("POST", "/vm/v3/cluster/1", object{"anti_spoofing": true})
	c.ok("POST", "/vm/v3/event/republish", object{"since": time.Now().UTC().Format(time.DateTime)})
	made := c.ok("POST", "/vm/v3/host", object{"name": "every", "os": c.tiny(), "password": "x", "ipv4_number": 2})
	c.complete(made)
	path := at("/vm/v3/host/%d", made)
	c.ok("POST", path, object{"comment": "c", "values": object{}, "ha_restore_on_fail": false})
	for _, get := range []string{"", "/metadata", "/ipv4", "/ipv6", "/history", "/console"} {
		if get == "/console" {
			c.console(number(made, "id"), "slipway-guest")
			continue
		}
		c.ok("GET", path+get, nil)
	}
	c.ok("GET", path+"/vnc_settings", nil)
	c.ok("POST", path+"/console", object{"kind": "serial"})
	c.ok("GET", "/vm/v3/host", nil)
	c.ok("GET", fmt.Sprintf("/vm/v3/task/%d", number(made, "task")), nil)
	c.complete(c.ok("POST", path+"/stop", object{"force": false, "host_id": number(made, "id")}))
	if m := c.ok("GET", path+"/metadata", nil)["metadata"].(object); m["state"].(object)["disabled"] != true {
		c.s.t.Errorf("stopped: %v", m)
	}
	c.complete(c.ok("POST", path+"/start", nil))
	c.complete(c.ok("POST", path+"/restart", object{}))
	c.complete(c.ok("POST", path+"/ip", object{"ipv4_number": 2, "ip_addr": object{}, "interfaces": []any{}, "vxlan": nil}))
	for _, remove := range []string{"/ip/v3/ip/%d", "/vm/v3/ip/%d", path + "/ip/%d"} {
		l := c.list(path + "/ipv4")
		c.complete(c.ok("DELETE", at(remove, l[len(l)-1]), nil))
	}
	c.complete(c.ok("DELETE", path+"?force=true", nil))
}

// everyDisk gives a host another disk and takes it again.
func everyDisk(c *client, path string, first, node int) {
	made := c.ok("POST", "/vm/v3/disk", object{"name": "data", "size_mib": 64, "node": node, "storage": 0, "expand_part": ""})
	c.complete(made)
	second := number(made, "id")
	disk := fmt.Sprintf("/vm/v3/disk/%d", second)
	if d := c.ok("GET", disk, nil); d["host"] != nil {
		c.s.t.Errorf("a disk without a host: %v", d)
	}
	c.complete(c.ok("POST", path+fmt.Sprintf("/disk/%d", second), object{"is_main": false, "bus": "virtio"}))
	c.complete(c.ok("POST", path+"/disk_order", object{"disks": []object{{"id": second, "boot_order": 2}, {"id": first, "boot_order": 1}}}))
	c.complete(c.ok("DELETE", path+fmt.Sprintf("/disk/%d", second), nil))
	c.complete(c.ok("DELETE", disk, nil))
}

// everyUpkeep does to a host what is done to hosts later.
func everyUpkeep(c *client) {
	made := c.ok("POST", "/vm/v3/host", object{"name": "kept", "os": c.tiny(), "password": "x"})
	c.complete(made)
	path := at("/vm/v3/host/%d", made)
	d := c.list(fmt.Sprintf("/vm/v3/disk?where=host+EQ+%d", number(made, "id")))[0]
	disk := at("/vm/v3/disk/%d", d)
	c.ok("GET", disk, nil)
	c.complete(c.ok("POST", disk, object{"name": "root", "size_mib": number(d, "size_mib") + 64, "defer": nil}))
	everyDisk(c, path, number(d, "id"), number(d["node"].(object), "id"))
	c.complete(c.ok("POST", path+"/resource", object{"cpu_number": 2, "ram_mib": 512, "cpu_mode": "default"}))
	c.complete(c.ok("POST", path+"/password", object{"password": "another"}))
	c.complete(c.ok("POST", path+"/guest_agent", object{}))
	c.complete(c.ok("POST", path+"/rescue_mode", object{"rescue_mode": true}))
	c.complete(c.ok("POST", path+"/rescue_mode", object{"rescue_mode": false}))
	c.complete(c.ok("POST", path+"/iso/mount", object{"url": cd(c.s.t, "every route"), "tags": []string{}}))
	c.complete(c.ok("POST", path+"/iso/finish", nil))
	c.complete(c.ok("POST", path+"/iso/upload", string(cdtest.Image("every route"))))
	c.complete(c.ok("POST", path+"/iso/cancel", object{}))
	c.complete(c.ok("POST", path+"/reinstall", object{"os": c.tiny(), "password": "third", "send_email_mode": "default"}))
	c.complete(c.ok("POST", path+"/account", object{"account": 1}))
	tag := c.ok("POST", "/vm/v3/tag", object{"name": "every"})
	c.ok("GET", "/vm/v3/tag", nil)
	c.ok("POST", path+"/tag", object{"tags": []string{"every"}})
	c.ok("POST", path+"/tag", object{"tags": []string{}})
	c.ok("DELETE", at("/vm/v3/tag/%d", tag), nil)
	c.complete(c.ok("POST", path+"/ptr", object{"name": c.list(path + "/ipv4")[0]["ip_addr"], "domain": "kept.example.com"}))
	named := c.list(path + "/ptr")[0]["ip"].([]any)[0].(object)
	c.complete(c.ok("POST", at(path+"/ptr/%d", named), object{"domain": "again.example.com"}))
	c.complete(c.ok("DELETE", at(path+"/ptr/%d", named), nil))
	c.ok("GET", "/vm/v3/settings/task/host_create/timeout", nil)
	c.ok("POST", "/vm/v3/settings/task/host_create/timeout", object{"timeout_seconds": 600})
	c.ok("DELETE", "/vm/v3/settings/task/host_create/timeout", nil)
	c.complete(c.ok("DELETE", path, nil))
}
