package access

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	authpb "slipway.dev/proto/auth/v4"
	ippb "slipway.dev/proto/ip/v3"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/fault"
)

// felt is how soon a change at one replica must be felt at all others.
const felt = 5 * time.Second

// eventually waits until ok, but no longer than felt.
func (w *world) eventually(what string, ok func() bool) {
	w.Helper()
	ctx, stop := context.WithTimeout(w.Context(), felt)
	defer stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			w.Errorf("%s: not within %s", what, felt)
			return
		}
	}
}

func refusedFor(err error, reason string) bool {
	f, ok := fault.From(err)
	return ok && f.Reason == reason
}

// held calls every service at every replica directly, with a signed identity.
func (w *world) held(signed string) (refused, asked int) {
	for _, r := range w.replicas {
		_, a := authpb.NewRoleServiceClient(r.Conn("auth", "gateway")).ListScopes(w.as(signed), &authpb.ListScopesRequest{})
		_, v := vmpb.NewHostServiceClient(r.Conn("vm", "gateway")).ListHosts(w.as(signed), &vmpb.ListHostsRequest{})
		_, i := ippb.NewNetworkServiceClient(r.Conn("ip", "gateway")).ListNetworks(w.as(signed), &ippb.ListNetworksRequest{})
		for _, err := range []error{a, v, i} {
			asked++
			if refusedFor(err, "UNAUTHENTICATED") {
				refused++
			}
		}
	}
	return refused, asked
}

// TestReplicas: whatever ends access at one replica ends it at the other's gateway and at every service of both, though all of
// them had just believed the token and its identity.
func TestReplicas(t *testing.T) {
	t.Parallel()
	w := build(t, 2)
	w.start()
	admin := w.login(adminEmail)
	role := w.do("POST", "/auth/v4/role", admin, `{"name":"watcher","scopes":["vms.read","ipam.read"],"all":true}`)["id"]
	type change struct {
		name string
		do   func(id int, session string)
		// status of the same token afterwards, and whether identities from before are refused everywhere.
		status int
	}
	post := func(path, body string) func(int, string) {
		return func(id int, _ string) { w.do("POST", fmt.Sprintf(path, id), admin, body) }
	}
	for i, c := range []change{
		{"logout", func(_ int, session string) { w.do("DELETE", "/auth/v4/self/session", session, "") }, http.StatusUnauthorized},
		{"token delete", func(_ int, session string) { w.do("DELETE", "/auth/v4/token/"+session, admin, "") }, http.StatusUnauthorized},
		{"suspend", post("/auth/v4/user/%d/suspend", `{}`), http.StatusUnauthorized},
		{"password", post("/auth/v4/user/%d/password", `{"password":"another one"}`), http.StatusUnauthorized},
		{"roles", post("/auth/v4/user/%d", `{"roles":["@user"]}`), http.StatusUnauthorized},
		{"delete", func(id int, _ string) { w.do("DELETE", fmt.Sprintf("/auth/v4/user/%d", id), admin, "") }, http.StatusUnauthorized},
		{"role edit", func(int, string) {
			w.do("POST", fmt.Sprintf("/auth/v4/role/%v", role), admin, `{"scopes":["ipam.read"]}`)
		}, http.StatusForbidden},
	} {
		email := fmt.Sprintf("user%d@example.com", i)
		id, session := w.user(admin, email, "watcher")
		signed := w.identity(1, session)
		for n := range w.replicas { // every replica has seen it
			if a := w.send(n, "GET", "/vm/v3/host", session, ""); a.code != http.StatusOK {
				t.Fatalf("%s: before, at replica %d: %+v", c.name, n, a)
			}
		}
		if refused, _ := w.held(signed); refused != 0 {
			t.Fatalf("%s: the identity is refused by %d before", c.name, refused)
		}
		c.do(id, session)
		for n := range w.replicas {
			w.eventually(fmt.Sprintf("%s at gateway %d", c.name, n), func() bool {
				return w.send(n, "GET", "/vm/v3/host", session, "").code == c.status
			})
		}
		w.eventually(c.name+" at the services", func() bool {
			refused, asked := w.held(signed)
			return refused == asked
		})
	}
	// What goes on, goes on: with what the role still allows.
	_, session := w.user(admin, "last@example.com", "watcher")
	if a := w.send(1, "GET", "/ip/v3/ipnet", session, ""); a.code != http.StatusOK {
		t.Errorf("what the edited role allows: %+v", a)
	}
	w.recorded(admin)
}

// recorded looks for what was done above in the log, whichever replica did it, and at calls of vm and ip.
func (w *world) recorded(admin string) {
	w.Helper()
	w.withAddresses(admin)
	w.do("POST", "/ip/v3/ipnet/1", admin, `{"note":"seen"}`)
	w.send(1, "DELETE", "/vm/v3/host/9", admin, "")
	for what, where := range map[string]string{
		"ip": "action+EQ+'ip.v3.NetworkService/UpdateNetwork'+AND+result+EQ+'ok'+AND+object_type+EQ+'network'+AND+object_id+EQ+'1'",
		"vm": "action+EQ+'vm.v3.HostService/DeleteHost'+AND+result+EQ+'failed'+AND+reason+EQ+'NOT_FOUND'",
	} {
		w.eventually("a record of "+what, func() bool {
			return w.do("GET", "/auth/v4/audit?where="+where, admin, "")["size"].(float64) == 1
		})
	}
	w.eventually("an intact chain", func() bool {
		v := w.do("GET", "/auth/v4/audit/verify", admin, "")
		if v["intact"] != true {
			w.Errorf("%v", v)
			return true
		}
		return v["unsealed"].(float64) == 0
	})
}
