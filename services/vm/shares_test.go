package vm_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/identity"
)

// TestJobsAreBoundedByNodeAndAccount checks that every job of a host counts for the host's node and account: this is what
// bounds how many of them run at once.
func TestJobsAreBoundedByNodeAndAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	user := w.as(11, identity.RoleUser)
	c := w.create(user, wish("mine"))
	added, err := w.hosts().AddHostIP(w.admin(), &vmpb.AddHostIPRequest{Id: c.GetId(), Ipv4Number: 1})
	if err != nil {
		t.Fatal(err)
	}
	w.done(added.GetTask())
	if _, err := w.hosts().StopHost(user, &vmpb.StopHostRequest{Id: c.GetId(), Force: true}); err != nil {
		t.Fatal(err)
	}
	started, err := w.hosts().StartHost(user, &vmpb.StartHostRequest{Id: c.GetId()})
	if err != nil {
		t.Fatal(err)
	}
	w.done(started.GetTask())
	gone, err := w.hosts().DeleteHost(user, &vmpb.DeleteHostRequest{Id: c.GetId()})
	if err != nil {
		t.Fatal(err)
	}
	w.done(gone.GetTask())
	rows, err := w.deps.Pool.Query(t.Context(), `SELECT kind, coalesce(account_id, 0), coalesce(node_id, 0) FROM job`)
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]bool{}
	var kind string
	var account, node int32
	if _, err := pgx.ForEachRow(rows, []any{&kind, &account, &node}, func() error {
		kinds[kind] = true
		if account != 11 || node != w.nodeID {
			t.Errorf("%s counts for account %d and node %d", kind, account, node)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"host_create", "ip_change", "host_stop", "host_start", "host_delete"} {
		if !kinds[kind] {
			t.Errorf("no job of kind %s: %v", kind, kinds)
		}
	}
}
