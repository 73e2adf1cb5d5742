//go:build e2e

package chaos_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	ippb "slipway.dev/proto/ip/v3"
	vmpb "slipway.dev/proto/vm/v3"
)

// healing is the time within which everything must be at rest after a fault.
const healing = 60 * time.Second

// TestNodeAway: a node is away while its hosts are deleted. No other host gets their addresses before their machines
// are gone, and they are gone within a minute after the node returns.
func TestNodeAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	const n = 100
	var made []*vmpb.CreateHostResponse
	for i := range n {
		m, err := w.create(w.admin(), fmt.Sprintf("h%d", i))
		if err != nil {
			t.Fatal(err)
		}
		made = append(made, m)
	}
	for _, m := range made {
		if s := w.end(m.GetTask(), healing); s != "done" {
			t.Fatalf("task %d is %s", m.GetTask(), s)
		}
	}
	w.setAway(true)
	var tasks []int32
	for _, m := range made {
		op, err := w.hosts.DeleteHost(w.admin(), &vmpb.DeleteHostRequest{Id: m.GetId()})
		if err != nil {
			t.Fatal(err)
		}
		tasks = append(tasks, op.GetTask())
	}
	for tried := 0; tried < n; { // until each delete has knocked in vain
		tried = w.count("vm", `SELECT count(*) FROM job WHERE kind = 'host_delete' AND failures > 0`)
		time.Sleep(20 * time.Millisecond)
	}
	addresses := ippb.NewAddressServiceClient(w.Conn("ip", "vm"))
	held := w.count("ip", `SELECT count(*) FROM address WHERE state = 'assigned'`)
	for range 50 {
		r, err := addresses.Reserve(t.Context(), &ippb.ReserveRequest{Owner: uuid.NewString(), ClusterId: 1, Ipv4Count: 1})
		if err != nil {
			t.Fatal(err)
		}
		if c := w.count("vm", `SELECT count(*) FROM host_address WHERE addr = $1::text::inet`, r.GetAddresses()[0].GetIpAddr()); c > 0 {
			t.Errorf("%s is given while a machine may still use it", r.GetAddresses()[0].GetIpAddr())
		}
	}
	if held != n || w.count("vm", `SELECT count(*) FROM host WHERE state = 'deleting'`) != n {
		t.Errorf("%d addresses are held while the node is away", held)
	}
	w.setAway(false)
	back := time.Now()
	for _, task := range tasks {
		if s := w.end(task, healing); s != "done" {
			t.Errorf("delete %d is %s", task, s)
		}
	}
	w.rest(time.Until(back.Add(healing)))
	if left := w.count("vm", `SELECT count(*) FROM host`); left > 0 {
		t.Errorf("%d hosts are left", left)
	}
	if again := w.count("ip", `SELECT count(*) FROM address WHERE state = 'quarantined'`); again != n {
		t.Errorf("%d addresses are in quarantine", again)
	}
}
