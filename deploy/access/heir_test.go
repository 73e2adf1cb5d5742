package access

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestDeletedOwner: whoever has the answer to the deletion of an owner sees the hosts at the account that deleted it, in the same
// moment, recorded; the pools and the bookings of addresses follow; a client may create the account anew.
func TestDeletedOwner(t *testing.T) {
	t.Parallel()
	w := build(t, 1)
	w.start()
	w.withNode()
	admin := w.login(adminEmail)
	w.withAddresses(admin)
	boss, asBoss := w.user(admin, "boss@example.com", "@admin")
	owner, asOwner := w.user(admin, "owner@example.com", "@user")
	w.do("POST", "/ip/v3/userspace/public/ippool", admin, fmt.Sprintf(`{"name":"own","account":%d}`, owner))
	host := int(w.do("POST", "/vm/v3/host", asOwner, `{"name":"web1","os":1,"password":"secret","cluster":1}`)["id"].(float64))
	path := fmt.Sprintf("/vm/v3/host/%d", host)

	w.do("DELETE", fmt.Sprintf("/auth/v4/user/%d", owner), asBoss, "")
	h := w.do("GET", path, asBoss, "")
	if a := h["account"].(map[string]any); int(a["id"].(float64)) != boss || a["email"] != "boss@example.com" {
		t.Errorf("the host belongs to %v", a)
	}
	if a := w.send(0, "GET", path, asOwner, ""); a.code != http.StatusUnauthorized {
		t.Errorf("the deleted owner: %d %s", a.code, a.body)
	}
	if a := w.do("GET", fmt.Sprintf("/vm/v3/account?where=id+EQ+%d", owner), admin, ""); a["size"].(float64) != 0 {
		t.Errorf("vm lists the deleted account: %v", a)
	}
	if l := w.do("GET", fmt.Sprintf("/vm/v3/user_limits/account/%d", boss), admin, ""); l["host_count_used"].(float64) != 1 {
		t.Errorf("the limits of the heir: %v", l)
	}
	again, asAgain := w.user(admin, "owner@example.com", "@user")
	if l := w.do("GET", "/vm/v3/host", asAgain, ""); again == owner || l["size"].(float64) != 0 {
		t.Errorf("the account made anew is %d and has %v", again, l)
	}

	eventually := func(what string, path, text string) {
		t.Helper()
		var a answer
		for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) { // between two looks
			if a = w.send(0, "GET", path, admin, ""); a.code == http.StatusOK && strings.Contains(a.body, text) {
				return
			}
		}
		t.Errorf("%s: %d %s, want %s", what, a.code, a.body, text)
	}
	eventually("the pool", "/ip/v3/ippool/2", fmt.Sprintf(`"account":%d`, boss))
	eventually("the deletion in the audit log", "/auth/v4/audit?limit=1000", fmt.Sprintf(`{\"heir\":%d}`, boss))
	eventually("the host in the audit log", "/auth/v4/audit?limit=1000", fmt.Sprintf(`{\"account\":%d}`, boss))
	fsck := w.do("GET", "/vm/v3/fsck", admin, "")
	for _, f := range fsck["list"].([]any) {
		if kind := f.(map[string]any)["kind"].(string); strings.HasPrefix(kind, "address_") || kind == "host_ownerless" || kind == "counter_wrong" {
			t.Errorf("found %v", f)
		}
	}
}
