package access

import (
	"fmt"
	"net/http"
	"testing"
)

// records counts the audit records of an action, with a result and of an object.
func (w *world) records(admin, action, result, kind string, id int) int {
	w.Helper()
	where := fmt.Sprintf("action+EQ+'%s'+AND+result+EQ+'%s'+AND+object_type+EQ+'%s'+AND+object_id+EQ+'%d'+AND+actor+EQ+'%s'",
		action, result, kind, id, adminEmail)
	return int(w.do("GET", "/auth/v4/audit?where="+where, admin, "")["size"].(float64))
}

// TestTheServiceThatCommitsRecords: ip records what vm changes there for a user, with the user as actor, and vm records
// nothing; also when vm fails after ip has committed.
func TestTheServiceThatCommitsRecords(t *testing.T) {
	t.Parallel()
	w := build(t, 1)
	w.start()
	admin := w.login(adminEmail)
	w.withNode()
	w.withAddresses(admin) // binds pool 1
	host := int(w.do("POST", "/vm/v3/host", admin,
		`{"name":"a","os":1,"cluster":1,"password":"secret123","ram_mib":128,"cpu_number":1,"hdd_mib":64}`)["id"].(float64))
	list := w.do("GET", fmt.Sprintf("/vm/v3/host/%d/ipv4", host), admin, "")["list"].([]any)
	address := int(list[0].(map[string]any)["id"].(float64))
	ptr := fmt.Sprintf("/vm/v3/ip/%d/ptr", address)
	w.do("POST", ptr, admin, `{"domain":"a.example.com"}`)

	if _, err := w.vmDB.Exec(t.Context(), `
		CREATE FUNCTION test_fails() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''vm dies here''; END';
		CREATE TRIGGER test_fails BEFORE UPDATE ON host_address FOR EACH ROW EXECUTE FUNCTION test_fails()`); err != nil {
		t.Fatal(err)
	}
	if a := w.send(0, "POST", ptr, admin, `{"domain":"b.example.com"}`); a.code != http.StatusInternalServerError {
		t.Errorf("vm did not fail: %+v", a)
	}
	w.send(0, "POST", "/vm/v3/ippool/99/cluster", admin, `{"clusters":[{"id":1,"interface":0}]}`)
	for _, want := range []struct {
		action, result, kind string
		id, n                int
	}{
		{"ip.v3.AddressService/SetPTR", "ok", "address", address, 2},
		{"ip.v3.PoolService/SetPoolClusters", "ok", "pool", 1, 1},
		{"ip.v3.PoolService/SetPoolClusters", "failed", "pool", 99, 1},
		{"vm.v3.HostService/CreateHost", "ok", "host", host, 1},
		{"vm.v3.HostService/SetPTR", "ok", "address", address, 0},
		{"vm.v3.HostService/SetPTR", "failed", "address", address, 0},
		{"vm.v3.ClusterService/BindPool", "ok", "pool", 1, 0},
		{"vm.v3.ClusterService/BindPool", "failed", "pool", 99, 0},
	} {
		w.eventually(fmt.Sprintf("%d records of %s %s", want.n, want.action, want.result), func() bool {
			return w.records(admin, want.action, want.result, want.kind, want.id) == want.n
		})
	}
}

// TestParkedEventsAreRecordedWhereTheyAre: the service that replays or drops a parked event records that, in its transaction, with the
// administrator who asked vm for it as actor; vm records nothing.
func TestParkedEventsAreRecordedWhereTheyAre(t *testing.T) {
	t.Parallel()
	w := build(t, 1)
	w.start()
	admin := w.login(adminEmail)
	const event = "0198c0de-0000-7000-8000-00000000000"
	for n := range 3 {
		_, err := w.vmDB.Exec(t.Context(), `
			INSERT INTO inbox_parked (consumer, event_id, subject, key, type, data, occurred_at, error)
			VALUES ('vm-auth', $1::text::uuid, 'auth.v4.user.deleted', '7', 'auth.v4.UserDeleted', '', now(), 'no')`, fmt.Sprint(event, n))
		if err != nil {
			t.Fatal(err)
		}
	}
	w.do("POST", "/vm/v3/parked/vm-auth/"+event+"0/replay", admin, `{}`)
	w.do("DELETE", "/vm/v3/parked/vm-auth/"+event+"1", admin, "")
	w.send(0, "DELETE", "/vm/v3/parked/vm-auth/"+event+"9", admin, "")
	w.do("POST", "/vm/v3/event/republish", admin, `{"since":"2026-01-01 00:00:00","service":"ip"}`)
	for _, want := range []struct {
		action, result, kind, id string
		n                        int
	}{
		{"parked.v1.ParkedService/ReplayParked", "ok", "event", event + "0", 1},
		{"parked.v1.ParkedService/DropParked", "ok", "event", event + "1", 1},
		{"parked.v1.ParkedService/DropParked", "failed", "event", event + "9", 1},
		{"vm.v3.FsckService/ReplayParked", "ok", "event", event + "0", 0},
		{"vm.v3.FsckService/DropParked", "ok", "event", event + "1", 0},
		{"outbox.v1.OutboxService/Republish", "ok", "outbox", "ip", 1},
		{"vm.v3.FsckService/RepublishEvents", "ok", "outbox", "", 0},
	} {
		where := fmt.Sprintf("action+EQ+'%s'+AND+result+EQ+'%s'+AND+object_type+EQ+'%s'+AND+object_id+EQ+'%s'+AND+actor+EQ+'%s'",
			want.action, want.result, want.kind, want.id, adminEmail)
		w.eventually(fmt.Sprintf("%d records of %s %s", want.n, want.action, want.result), func() bool {
			return int(w.do("GET", "/auth/v4/audit?where="+where, admin, "")["size"].(float64)) == want.n
		})
	}
}
