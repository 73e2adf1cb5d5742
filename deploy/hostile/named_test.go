package hostile

import (
	"fmt"
	"strings"
	"testing"
)

// naming are requests in which an ID of a body names an object, by the noun of the object.
var naming = []struct{ noun, path, body string }{
	{"pool", "/vm/v3/host", `{"name":"x","os":1,"password":"x","hdd_mib":1,"ipv4_pool":[ID]}`},
	{"pool", "/vm/v3/host", `{"name":"x","os":1,"password":"x","hdd_mib":1,"ipv4_number":2,"ipv4_pool":[ID]}`},
	{"pool", "/vm/v3/host", `{"name":"x","os":1,"password":"x","hdd_mib":1,"ipv6_enabled":true,"ipv6_pool":[ID]}`},
	{"pool", "/vm/v3/host", `{"name":"x","os":1,"password":"x","hdd_mib":1,"ip_addr":{"ip_pool":ID}}`},
	{"pool", "/vm/v3/host", `{"name":"x","os":1,"password":"x","hdd_mib":1,"custom_interfaces":[{"ippool":ID}]}`},
	{"account", "/vm/v3/host", `{"name":"x","os":1,"password":"x","hdd_mib":1,"account":ID}`},
	{"account", "/vm/v3/disk", `{"name":"x","size_mib":1,"node":1,"account":ID}`},
	{"disk", "/vm/v3/host/OWN/disk_order", `{"disks":[{"id":ID,"boot_order":1}]}`},
	{"disk", "/vm/v3/host/OWN/reinstall", `{"os":1,"disk":ID}`},
	{"address", "/vm/v3/host/OWN/ptr", `{"name":"ID","domain":"a.example.com"}`},
}

// TestForeignIsMissingInABody: what a body names and belongs to another account is answered like what does not exist.
func TestForeignIsMissingInABody(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	targets := s.targets()
	s.more(targets)
	_, user := s.account("other@example.com", "@user", "other-password")
	host := user.ok("POST", "/vm/v3/host", `{"name":"own","os":1,"password":"x","hdd_mib":1}`)
	user.complete(host.number("task"))
	pool := s.admin.ok("POST", "/ip/v3/userspace/public/ippool", fmt.Sprintf(`{"name":"theirs","account":%s}`, targets["account"]))
	ip := s.admin.ok("GET", "/vm/v3/host/"+targets["host"]+"/ipv4", "").body["list"].([]any)[0].(object)
	foreign := map[string]string{
		"pool": fmt.Sprint(pool.number("id")), "account": targets["account"], "disk": targets["disk"], "address": ip["ip_addr"].(string),
	}
	missing := map[string]string{"pool": nobodys, "account": nobodys, "disk": nobodys, "address": "192.0.2.99"}
	for _, bound := range []string{`[]`, `[{"id":1,"interface":0}]`} {
		s.admin.ok("POST", "/vm/v3/ippool/"+foreign["pool"]+"/cluster", `{"clusters":`+bound+`}`)
		for _, n := range naming {
			ask := func(id string) string {
				path := strings.ReplaceAll(n.path, "OWN", fmt.Sprint(host.number("id")))
				return masked(user.send("POST", path, strings.ReplaceAll(n.body, "ID", id)), id)
			}
			theirs, nobodies := ask(foreign[n.noun]), ask(missing[n.noun])
			if theirs != nobodies || !strings.HasPrefix(nobodies, "400") {
				t.Errorf("%s %s: %s, and of nobody: %s", n.path, n.body, theirs, nobodies)
			}
		}
	}
}
