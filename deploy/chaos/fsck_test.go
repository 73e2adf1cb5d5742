//go:build e2e

package chaos_test

import (
	"fmt"
	"testing"

	"github.com/google/uuid"

	"slipway.dev/pkg/fence"
	ippb "slipway.dev/proto/ip/v3"
	nodepb "slipway.dev/proto/node/v1"
	vmpb "slipway.dev/proto/vm/v3"
)

// TestFsckFindsDamage plants every kind of damage in an installation and expects the consistency check to find it,
// and nothing else.
func TestFsckFindsDamage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	ids, uuids := map[string]int32{}, map[string]string{}
	for _, name := range []string{"well", "row", "machine", "address", "stuck", "disk", "owner", "booked", "resize"} {
		made, err := w.create(w.admin(), name)
		if err != nil {
			t.Fatal(err)
		}
		if s := w.end(made.GetTask(), healing); s != "done" {
			t.Fatal(s)
		}
		var id string
		if err := w.pools["vm"].QueryRow(t.Context(), `SELECT uuid::text FROM host WHERE id = $1`, made.GetId()).Scan(&id); err != nil {
			t.Fatal(err)
		}
		ids[name], uuids[name] = made.GetId(), id
	}
	w.rest(healing)
	agent := nodepb.NewNodeServiceClient(w.node.Server().Local("vm"))
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]bool{}
	expect := func(kind, object string, args ...any) { want[kind+" "+fmt.Sprintf(object, args...)] = true }

	w.exec("vm", `UPDATE node SET cpu_allocated = cpu_allocated + 1`) // one too many; below one host goes with its RAM
	expect("counter_wrong", "node 1 cpu_allocated")

	var addr string
	must(w.pools["ip"].QueryRow(t.Context(), `SELECT host(ip) FROM address WHERE owner = $1`, uuids["row"]).Scan(&addr))
	w.exec("vm", `DELETE FROM host WHERE id = $1`, ids["row"])
	expect("machine_orphan", "machine %s", uuids["row"])
	expect("address_orphan", "address %s", addr)
	expect("counter_wrong", "node 1 ram_allocated")
	expect("counter_wrong", "node 1 storage_allocated")
	for _, counter := range []string{"host_count", "cpu_number", "ram_mib", "hdd_mib", "ipv4_number"} {
		expect("counter_wrong", "account 1 %s", counter)
	}

	_, err := agent.RemoveMachine(t.Context(), &nodepb.RemoveMachineRequest{Command: &nodepb.Command{Machine: uuids["machine"], Fence: fence.First(1 << 20)}})
	must(err)
	expect("machine_missing", "host %d", ids["machine"])
	expect("disk_missing", "host %d disk0", ids["machine"])

	w.nats.Stop() // or vm would hear of the next
	_, err = ippb.NewAddressServiceClient(w.Conn("ip", "vm")).Release(t.Context(), &ippb.ReleaseRequest{Owner: uuids["address"]})
	must(err)
	expect("address_missing", "host %d address %d", ids["address"], w.count("vm", `SELECT ip_id FROM host_address WHERE host_id = $1`, ids["address"]))

	_, err = agent.EnsureDisk(t.Context(), &nodepb.EnsureDiskRequest{
		Command: &nodepb.Command{Machine: uuids["disk"], Fence: fence.First(1 << 20)}, Disk: &nodepb.Disk{Name: "disk7", SizeMib: 1},
	})
	must(err)
	expect("disk_orphan", "host %d disk7", ids["disk"])

	stray := uuid.NewString()
	_, err = agent.EnsureDisk(t.Context(), &nodepb.EnsureDiskRequest{
		Command: &nodepb.Command{Machine: stray, Fence: fence.First(1 << 20)}, Disk: &nodepb.Disk{Name: "disk0", SizeMib: 1},
	})
	must(err)
	expect("machine_orphan", "machine %s", stray)

	_, err = agent.EnsureNetwork(t.Context(), &nodepb.EnsureNetworkRequest{Name: "br7", Addresses: []string{"198.51.100.1/24"}})
	must(err)
	expect("network_orphan", "node 1 bridge br7")

	w.exec("vm", `UPDATE host SET account_id = 4711 WHERE id = $1`, ids["owner"])
	expect("host_ownerless", "host %d", ids["owner"])
	must(w.pools["ip"].QueryRow(t.Context(), `SELECT host(ip) FROM address WHERE owner = $1`, uuids["owner"]).Scan(&addr))
	expect("address_account", "host %d address %s", ids["owner"], addr)

	must(w.pools["ip"].QueryRow(t.Context(), `UPDATE address SET account_id = 4711 WHERE owner = $1 RETURNING host(ip)`, uuids["booked"]).Scan(&addr))
	expect("address_account", "host %d address %s", ids["booked"], addr)

	w.exec("vm", `UPDATE host SET state = 'starting' WHERE id = $1`, ids["stuck"])
	expect("host_stuck", "host %d", ids["stuck"])

	w.exec("vm", `UPDATE host SET resize_task = 4711 WHERE id = $1`, ids["resize"])
	expect("change_stuck", "host %d", ids["resize"])

	w.exec("vm", `INSERT INTO job (kind, key, args, state, started_at, locked_by, lease_until)
		VALUES ('host_start', 'host/999', '{}', 'running', now() - interval '2 days', 'nobody', now() + interval '1 day')`)
	expect("job_overdue", "job %d", w.count("vm", `SELECT max(id) FROM job`))

	event := uuid.NewString()
	w.exec("vm", `INSERT INTO inbox_parked (consumer, event_id, subject, key, type, data, occurred_at, error)
		VALUES ('vm-auth', $1, 'auth.v4.user.updated', '1', 't', '', now(), 'planted')`, event)
	expect("event_parked", "event %s for vm-auth", event)

	for _, schema := range []string{"auth", "ip", "vm"} {
		w.exec(schema, `INSERT INTO outbox (event_id, subject, key, type, data, occurred_at)
			VALUES (gen_random_uuid(), $1, 'k', 't', '', now() - interval '1 hour')`, schema+".v1.planted.made")
		expect("event_unsent", "outbox of %s", schema)
	}
	w.exec("ip", `UPDATE address SET state = 'quarantined', until = now() - interval '1 hour' WHERE ip = '10.7.9.9'`)
	expect("address_overdue", "address 10.7.9.9")

	// The sweep frees what is overdue within seconds, so its damage may be mended before both looks.
	for range 3 {
		r, err := w.fsck.GetFsck(w.admin(), &vmpb.GetFsckRequest{SettleMs: 1})
		must(err)
		for _, f := range r.GetList() {
			key := f.GetKind() + " " + f.GetObject()
			if _, planted := want[key]; !planted {
				t.Errorf("found, but not planted: %v", f)
			}
			want[key] = false
		}
	}
	delete(want, "address_overdue address 10.7.9.9")
	for what, missed := range want {
		if missed {
			t.Errorf("planted, but not found: %s", what)
		}
	}
	w.exec("vm", `DELETE FROM job WHERE locked_by = 'nobody'`)
	w.nats.Start(t)
}
