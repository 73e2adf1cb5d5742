package vm_test

import (
	"slices"
	"testing"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	ippb "slipway.dev/proto/ip/v3"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/fault"
)

// newHistory makes vm's database one of a new history, and ip's if both are in one cluster.
func (w *world) newHistory(both bool) {
	w.Helper()
	w.exec(`INSERT INTO timeline (system, number) VALUES (7, 9)`)
	if both {
		w.ledger.mu.Lock()
		defer w.ledger.mu.Unlock()
		w.ledger.open = []*ippb.History{{System: 7, Number: 9}}
	}
}

func (w *world) unsettled() (n int) {
	w.Helper()
	if err := w.deps.Pool.QueryRow(w.Context(), `SELECT count(*) FROM timeline WHERE settled_at IS NULL`).Scan(&n); err != nil {
		w.Fatal(err)
	}
	return n
}

// TestLostHostsAreNotGivenAgain: a standby that took over lacks a host that was acknowledged, and an address that another host
// got. Creates wait until the nodes were looked at; then no id of a host, fence or address is given a second time.
func TestLostHostsAreNotGivenAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	kept := w.create(w.admin(), wish("kept"))
	w.done(kept.GetTask())
	h, err := w.hosts().GetHost(w.admin(), &vmpb.GetHostRequest{Id: kept.GetId()})
	if err != nil {
		t.Fatal(err)
	}
	fence := w.agent.machine(h.GetInternalName()).fence + 5_000
	lost := uuid.NewString()
	w.agent.stray(lost, says{stackID, nodeUUID, 40_000, fence})
	buried, was := w.buried("removed")
	w.agent.stray(buried, was) // a leftover: its addresses were given back
	w.agent.with(func() {
		w.agent.machines[lost].allowed = []string{"10.1.0.77/16", "fd00::77/64"}
		w.agent.machines[buried].allowed = []string{"10.1.0.78/16"}
		w.agent.machines[h.GetInternalName()].allowed = append(w.agent.machines[h.GetInternalName()].allowed, "10.1.0.79/16")
		w.agent.fail["ListMachines"] = fault.Unavailable // the node gives signs of life and does not answer
	})
	w.newHistory(true)
	w.looks()
	if _, err := w.hosts().CreateHost(w.admin(), wish("early")); status.Code(err) != codes.Unavailable {
		t.Errorf("a create before the node was looked at: %v", err)
	}
	w.agent.failOn("ListMachines", nil)
	w.wait("the history is settled", func() bool { return w.unsettled() == 0 })
	w.ledger.mu.Lock()
	var seen []string
	for _, a := range w.ledger.seen {
		seen = append(seen, a.GetIpAddr()+" "+a.GetMachine())
	}
	w.ledger.mu.Unlock()
	slices.Sort(seen)
	want := []string{"10.1.0.77 " + lost, "10.1.0.79 " + h.GetInternalName(), "fd00::77 " + lost}
	if !slices.Equal(seen, want) {
		t.Errorf("held are %v, want %v", seen, want)
	}
	c := w.create(w.admin(), wish("late"))
	if w.done(c.GetTask()) != "complete" || c.GetId() <= 40_000 || c.GetTask() < kept.GetTask()+100_000 {
		t.Errorf("a host after that: %v, task %v, the first was %d", c, w.task(c.GetTask()), kept.GetTask())
	}
	if h, err = w.hosts().GetHost(w.admin(), &vmpb.GetHostRequest{Id: c.GetId()}); err != nil {
		t.Fatal(err)
	}
	if n := w.agent.machine(h.GetInternalName()).fence; n <= fence {
		t.Errorf("a command carried the fence %d, and %d was seen", n, fence)
	}
	if w.agent.machine(lost).state == 0 {
		t.Error("the machine of the lost host is gone")
	}
}

// TestHistoryOfIPAlone: ip's database is in another cluster, which failed over. vm looks for ip.
func TestHistoryOfIPAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ledger.mu.Lock()
	w.ledger.open = []*ippb.History{{System: 7, Number: 9}}
	w.ledger.mu.Unlock()
	w.wait("ip's history is settled", func() bool {
		w.ledger.mu.Lock()
		defer w.ledger.mu.Unlock()
		return w.ledger.settled == 1
	})
	w.done(w.create(w.admin(), wish("a")).GetTask())
}

// TestHistoryIsSettledAfterACrash: vm dies while a history is open, and its successor settles the history. The bus knows of a
// host that no node has.
func TestHistoryIsSettledAfterACrash(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.publish("vm.v3.host.created", &vmpb.HostChanged{Id: 60_000})
	w.agent.failOn("ListMachines", fault.Unavailable)
	w.newHistory(false)
	w.looks()
	w.start()
	if w.unsettled() != 1 {
		t.Error("the history is settled, and no node was looked at")
	}
	w.agent.failOn("ListMachines", nil)
	w.wait("the history is settled", func() bool { return w.unsettled() == 0 })
	if c := w.create(w.admin(), wish("a")); c.GetId() <= 60_000 {
		t.Errorf("a host after that: %v", c)
	}
}
