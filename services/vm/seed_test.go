package vm_test

import (
	"testing"

	ippb "slipway.dev/proto/ip/v3"
	vmpb "slipway.dev/proto/vm/v3"
)

// TestSeedsFollow: a changed gateway and changed name servers of a network reach its hosts at their next start, and the
// API shows what the guest has.
func TestSeedsFollow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ip.dns = []string{"192.0.2.53"}
	h := w.host()
	gateway := func() string {
		l, err := w.hosts().ListHostIPv4(w.admin(), &vmpb.ListHostIPv4Request{Id: h.GetId()})
		if err != nil {
			t.Fatal(err)
		}
		return l.GetList()[0].GetGateway()
	}
	check := func(when, gw, dns string) {
		t.Helper()
		m := w.agent.machine(h.GetInternalName())
		if got := m.seed.GetLinks()[0].GetGateways()[0]; got != gw {
			t.Errorf("%s the seed has the gateway %s, want %s", when, got, gw)
		}
		w.same(when+" the name servers", m.seed.GetDns(), dns)
		if got := gateway(); got != gw {
			t.Errorf("%s the API shows %s, want %s", when, got, gw)
		}
	}
	change := func(gw, dns string) {
		t.Helper()
		w.publish("ip.v3.network.changed", &ippb.NetworkChanged{Id: 1, Gateway: gw, DnsServers: []string{dns}})
		w.wait("the event", func() bool {
			var have string
			_ = w.deps.Pool.QueryRow(t.Context(), `SELECT gateway FROM network WHERE id = 1`).Scan(&have)
			return have == gw
		})
	}
	restart := func() {
		t.Helper()
		op, err := w.hosts().RestartHost(w.admin(), &vmpb.RestartHostRequest{Id: h.GetId(), Force: true})
		if err != nil || w.done(op.GetTask()) != "complete" {
			t.Fatal(op, err)
		}
	}
	change("10.1.0.254", "192.0.2.99")
	check("after the change", "10.1.0.1", "192.0.2.53")
	op, err := w.hosts().StartHost(w.admin(), &vmpb.StartHostRequest{Id: h.GetId()})
	if err != nil || w.done(op.GetTask()) != "complete" {
		t.Fatal(op, err)
	}
	check("after a start of the running machine", "10.1.0.1", "192.0.2.53")
	restart()
	check("after a restart", "10.1.0.254", "192.0.2.99")
	w.agent.mu.Lock()
	last := w.agent.networks[len(w.agent.networks)-1]
	w.agent.mu.Unlock()
	w.same("the bridge", last.GetAddresses(), "10.1.0.254/16")
	change("10.1.0.1", "192.0.2.53")
	if op, err := w.hosts().AddHostIP(w.admin(), &vmpb.AddHostIPRequest{Id: h.GetId(), Ipv4Number: 1}); err != nil || w.done(op.GetTask()) != "complete" {
		t.Fatal(op, err)
	}
	if got := gateway(); got != "10.1.0.254" {
		t.Errorf("an address more, and the API shows %s before the restart", got)
	}
	restart()
	check("after another restart", "10.1.0.1", "192.0.2.53")
}
