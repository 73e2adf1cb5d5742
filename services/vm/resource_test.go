package vm_test

import (
	"context"
	"slices"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/structpb"

	nodepb "slipway.dev/proto/node/v1"
	oppb "slipway.dev/proto/op/v1"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/fault"
)

// sized is a world with one host of account 11, which has 1 CPU and 128 MiB.
type sized struct {
	*world
	user context.Context
	id   int32
}

func newSized(t *testing.T, growing bool) *sized {
	t.Helper()
	w := newWorld(t)
	s := &sized{w, w.as(11, "@user"), 0}
	r := wish("web1")
	r.HotPlug = growing
	c := w.create(s.user, r)
	if got := w.done(c.GetTask()); got != "complete" {
		t.Fatal(w.task(c.GetTask()))
	}
	s.id = c.GetId()
	return s
}

func (s *sized) ask(ctx context.Context, r *vmpb.ChangeHostResourcesRequest) (*oppb.Operation, error) {
	r.Id = s.id
	return s.hosts().ChangeHostResources(ctx, r)
}

// change makes a change that succeeds.
func (s *sized) change(r *vmpb.ChangeHostResourcesRequest) {
	s.Helper()
	op, err := s.ask(s.user, r)
	if err != nil {
		s.Fatal(err)
	}
	if got := s.done(op.GetTask()); got != "complete" {
		s.Fatal(s.task(op.GetTask()))
	}
	if name := s.task(op.GetTask()).GetName(); name != "host_change_params" {
		s.Errorf("task %s", name)
	}
}

// power does something with the host's power that succeeds.
func (s *sized) power(do func(context.Context) (int32, error)) {
	s.Helper()
	task, err := do(s.user)
	if err != nil {
		s.Fatal(err)
	}
	if got := s.done(task); got != "complete" {
		s.Fatal(s.task(task))
	}
}

func (s *sized) stopIt(ctx context.Context) (int32, error) {
	op, err := s.hosts().StopHost(ctx, &vmpb.StopHostRequest{Id: s.id, Force: true})
	return op.GetTask(), err
}

func (s *sized) startIt(ctx context.Context) (int32, error) {
	op, err := s.hosts().StartHost(ctx, &vmpb.StartHostRequest{Id: s.id})
	return op.GetTask(), err
}

func (s *sized) restartIt(ctx context.Context) (int32, error) {
	op, err := s.hosts().RestartHost(ctx, &vmpb.RestartHostRequest{Id: s.id, Force: true})
	return op.GetTask(), err
}

func (s *sized) host() *vmpb.Host {
	s.Helper()
	h, err := s.hosts().GetHost(s.user, &vmpb.GetHostRequest{Id: s.id})
	if err != nil {
		s.Fatal(err)
	}
	return h
}

// is compares the host's size, what waits, what is sold of the node and counted for the account, and what the guest has.
func (s *sized) is(when string, cpus, ram, cpusNew, ramNew, soldCPUs, soldRAM int32) {
	s.Helper()
	h := s.host()
	if h.GetCpuNumber() != cpus || h.GetRamMib() != ram || h.GetCpuNumberNew() != cpusNew || h.GetRamMibNew() != ramNew {
		s.Errorf("%s the host shows %d, %d MiB and waits for %d, %d MiB; want %d, %d and %d, %d", when,
			h.GetCpuNumber(), h.GetRamMib(), h.GetCpuNumberNew(), h.GetRamMibNew(), cpus, ram, cpusNew, ramNew)
	}
	var node, account [2]int32
	err := s.deps.Pool.QueryRow(s.Context(), `
		SELECT n.cpu_allocated, n.ram_allocated, u.cpu_number, u.ram_mib FROM node n, account_usage u WHERE u.account_id = 11`).
		Scan(&node[0], &node[1], &account[0], &account[1])
	if want := [2]int32{soldCPUs, soldRAM}; err != nil || node != want || account != want {
		s.Errorf("%s sold of the node are %v, counted for the account %v, want %v (%v)", when, node, account, want, err)
	}
	if m := s.agent.machine(h.GetInternalName()); m.runs != nil && h.GetState() == "active" &&
		(m.runs.GetCpuNumber() != cpus || m.runs.GetRamMib() != ram) {
		s.Errorf("%s the guest has %d CPUs, %d MiB", when, m.runs.GetCpuNumber(), m.runs.GetRamMib())
	}
}

func size(cpus, ram int32) *vmpb.ChangeHostResourcesRequest {
	return &vmpb.ChangeHostResourcesRequest{CpuNumber: cpus, RamMib: ram}
}

func deferred(r *vmpb.ChangeHostResourcesRequest) *vmpb.ChangeHostResourcesRequest {
	r.Defer = &vmpb.ResourceDefer{Action: "host_stop"}
	return r
}

// TestGrowWhileRunning: a guest that can grow has more at once, and gives back at its next stop.
func TestGrowWhileRunning(t *testing.T) {
	t.Parallel()
	s := newSized(t, true)
	s.change(size(4, 384))
	s.is("grown", 4, 384, 4, 384, 4, 384)
	s.change(size(2, 0))
	s.is("to shrink", 4, 384, 2, 384, 4, 384)
	s.power(s.stopIt)
	s.is("stopped", 2, 384, 2, 384, 2, 384)
	s.power(s.startIt)
	s.is("started", 2, 384, 2, 384, 2, 384)
	s.change(deferred(size(3, 512)))
	s.is("deferred", 2, 384, 3, 512, 3, 512)
	s.power(s.restartIt)
	s.is("restarted", 3, 512, 3, 512, 3, 512)
}

// TestGrowLater: a guest that cannot grow has more from its next start on, whoever starts it; until then the change can be
// replaced or taken back.
func TestGrowLater(t *testing.T) {
	t.Parallel()
	s := newSized(t, false)
	s.change(size(4, 512))
	s.is("waiting", 1, 128, 4, 512, 4, 512)
	s.change(size(0, 256))
	s.is("less is waiting", 1, 128, 4, 256, 4, 256)
	s.change(size(1, 128))
	s.is("taken back", 1, 128, 1, 128, 1, 128)
	s.change(size(2, 256))
	uuid := s.host().GetInternalName()
	s.agent.mu.Lock()
	s.agent.machines[uuid].state = nodepb.MachineState_MACHINE_STATE_OFF
	s.agent.mu.Unlock()
	s.register("boot-2") // the node was started anew
	s.wait("the host is started again", func() bool { return s.host().GetCpuNumber() == 2 })
	s.wait("no task is under way", func() bool { return s.host().GetTask() == nil })
	s.is("after the reboot", 2, 256, 2, 256, 2, 256)
	s.power(s.stopIt)
	s.change(size(3, 512))
	s.is("changed while stopped", 3, 512, 3, 512, 3, 512)
	s.power(s.startIt)
	s.is("started", 3, 512, 3, 512, 3, 512)
	s.change(size(5, 600))
	op, err := s.hosts().DeleteHost(s.user, &vmpb.DeleteHostRequest{Id: s.id})
	if err != nil || s.done(op.GetTask()) != "complete" {
		t.Fatal(op, err)
	}
	s.nothingLeft()
}

// TestResizeFails: a change that the node refuses leaves nothing reserved.
func TestResizeFails(t *testing.T) {
	t.Parallel()
	s := newSized(t, true)
	s.change(deferred(size(2, 256)))
	s.agent.mu.Lock()
	s.agent.refuseOnce = map[string]error{"AdaptMachine": fault.New(codes.FailedPrecondition, "MACHINE_NOT_OURS", "not ours")}
	s.agent.mu.Unlock()
	ten := int32(10)
	r := size(4, 512)
	r.NetBandwidthMbitps = &ten
	op, err := s.ask(s.user, r)
	if err != nil || s.done(op.GetTask()) != "failed" {
		t.Fatal(op, err)
	}
	s.is("failed", 1, 128, 2, 256, 2, 256)
	h := s.host()
	if m := s.agent.machine(h.GetInternalName()); h.GetNetBandwidthMbitps() != 0 || m.def.GetLinks()[0].GetInMbitps() != 0 {
		t.Errorf("the bandwidth is limited: %v %v", h, m.def)
	}
}

// TestResizeRefused: what cannot be is refused at once, with the field, and changes nothing.
func TestResizeRefused(t *testing.T) {
	t.Parallel()
	s := newSized(t, true)
	if _, err := s.limits().SetLimits(s.admin(), &vmpb.SetLimitsRequest{Id: 11, CpuNumberTotal: structpb.NewNumberValue(4)}); err != nil {
		t.Fatal(err)
	}
	number := func(n int32) *int32 { return &n }
	text := func(s string) *string { return &s }
	rule := func(action, direction string, from, to int32, protocols ...string) *vmpb.ChangeHostResourcesRequest {
		return &vmpb.ChangeHostResourcesRequest{FirewallRules: []*vmpb.NewFirewallRule{{
			Action: action, Direction: direction, Portstart: from, Portend: to, Protocols: protocols,
		}}}
	}
	for _, tt := range []struct {
		r             *vmpb.ChangeHostResourcesRequest
		reason, field string
	}{
		{size(0, 0), "INVALID_ARGUMENT", ""},
		{size(241, 0), "INVALID_ARGUMENT", "cpu_number"},
		{size(-1, 0), "INVALID_ARGUMENT", "cpu_number"},
		{size(5, 0), "QUOTA_EXCEEDED", "cpu_number"},
		{size(0, 64), "INVALID_ARGUMENT", "ram_mib"}, // the OS needs more
		{size(0, 1<<20), "NO_CAPACITY", "ram_mib"},
		{&vmpb.ChangeHostResourcesRequest{CpuNumber: 2, Defer: &vmpb.ResourceDefer{Action: "tomorrow"}}, "INVALID_ARGUMENT", "defer.action"},
		{&vmpb.ChangeHostResourcesRequest{NetInMbitps: number(-1)}, "INVALID_ARGUMENT", "net_in_mbitps"},
		{&vmpb.ChangeHostResourcesRequest{IoReadIops: number(2_000_000)}, "INVALID_ARGUMENT", "io_read_iops"},
		{&vmpb.ChangeHostResourcesRequest{CpuMode: text("fast")}, "INVALID_ARGUMENT", "cpu_mode"},
		{&vmpb.ChangeHostResourcesRequest{CpuMode: text("custom")}, "INVALID_ARGUMENT", "cpu_custom_model"},
		{&vmpb.ChangeHostResourcesRequest{CpuCustomModel: text("Nehalem")}, "INVALID_ARGUMENT", "cpu_custom_model"},
		{&vmpb.ChangeHostResourcesRequest{CpuMode: text("host-model")}, "INVALID_ARGUMENT", "cpu_mode"}, // not on this node
		{&vmpb.ChangeHostResourcesRequest{CpuMode: text("custom"), CpuCustomModel: text("EPYC")}, "INVALID_ARGUMENT", "cpu_custom_model"},
		{&vmpb.ChangeHostResourcesRequest{CpuWeight: number(200)}, "PERMISSION_DENIED", "cpu_weight"},
		{&vmpb.ChangeHostResourcesRequest{ProcessNumber: 5}, "INVALID_ARGUMENT", "process_number"},
		{&vmpb.ChangeHostResourcesRequest{NetWeight: 5}, "INVALID_ARGUMENT", "net_weight"},
		{&vmpb.ChangeHostResourcesRequest{TcpConnectionsIn: 5}, "INVALID_ARGUMENT", "tcp_connections_in"},
		{rule("allow", "in", 0, 0), "INVALID_ARGUMENT", "firewall_rules[0].action"},
		{rule("drop", "up", 0, 0), "INVALID_ARGUMENT", "firewall_rules[0].direction"},
		{rule("drop", "in", 0, 0, "sctp"), "INVALID_ARGUMENT", "firewall_rules[0].protocols"},
		{rule("drop", "in", 25, 0), "INVALID_ARGUMENT", "firewall_rules[0].protocols"},
		{rule("drop", "in", 25, 0, "icmp"), "INVALID_ARGUMENT", "firewall_rules[0].protocols"},
		{rule("drop", "in", 25, 24, "tcp"), "INVALID_ARGUMENT", "firewall_rules[0].portend"},
		{rule("drop", "in", 70000, 0, "tcp"), "INVALID_ARGUMENT", "firewall_rules[0].portstart"},
		{rule("drop", "in", 0, 25, "tcp"), "INVALID_ARGUMENT", "firewall_rules[0].portstart"},
	} {
		_, err := s.ask(s.user, tt.r)
		f, ok := fault.From(err)
		if !ok || f.Reason != tt.reason || f.Field != tt.field {
			t.Errorf("%v: %v, want %s on %q", tt.r, err, tt.reason, tt.field)
		}
	}
	_, err := s.ask(s.as(12, "@user"), size(2, 0))
	s.reason("another account", err, "NOT_FOUND")
	s.is("after all refusals", 1, 128, 1, 128, 1, 128)
}

// TestLimitsOfHost: limits and rules reach the machine and the answers; users tighten limits, administrators loosen them.
func TestLimitsOfHost(t *testing.T) {
	t.Parallel()
	s := newSized(t, false)
	number := func(n int32) *int32 { return &n }
	s.change(&vmpb.ChangeHostResourcesRequest{
		NetBandwidthMbitps: number(100), NetOutMbitps: number(10), IoWriteIops: number(300), Nesting: new(true),
		FirewallRules: []*vmpb.NewFirewallRule{
			{Action: "Accept", Direction: "IN", Protocols: []string{"tcp", "tcp"}, Portstart: 22},
			{Action: "drop", Direction: "in", Protocols: []string{"any"}},
		},
	})
	h := s.host()
	if !h.GetNode().GetHotPlugMemory() {
		t.Errorf("the node shows %v", h.GetNode())
	}
	if h.GetNetBandwidthMbitps() != 100 || h.GetNetOutMbitps() != 10 || h.GetIoWriteIops() != 300 || !h.GetNesting() ||
		len(h.GetFirewallRules()) != 2 || h.GetFirewallRules()[0].GetPortend() != 22 || h.GetFirewallRules()[1].GetAction() != "drop" {
		t.Errorf("the host shows %v", h)
	}
	runs := s.agent.machine(h.GetInternalName()).runs
	link := runs.GetLinks()[0]
	if link.GetInMbitps() != 100 || link.GetOutMbitps() != 10 || runs.GetDiskLimits().GetWriteIops() != 300 || !runs.GetCpu().GetNesting() {
		t.Errorf("the machine runs with %v", runs)
	}
	if r := link.GetFirewall(); len(r) != 2 || r[0].GetDrop() || r[0].GetOut() || r[0].GetPortStart() != 22 || r[0].GetPortEnd() != 22 ||
		!slices.Equal(r[0].GetProtocols(), []string{"tcp"}) || !r[1].GetDrop() || len(r[1].GetProtocols()) != 0 {
		t.Errorf("rules %v", r)
	}
	_, err := s.ask(s.user, &vmpb.ChangeHostResourcesRequest{NetOutMbitps: number(20)})
	s.reason("a user raises a limit", err, "PERMISSION_DENIED")
	_, err = s.ask(s.user, &vmpb.ChangeHostResourcesRequest{NetOutMbitps: number(0)})
	s.reason("a user removes a limit", err, "PERMISSION_DENIED")
	s.change(&vmpb.ChangeHostResourcesRequest{NetOutMbitps: number(5), FirewallRulesNone: true})
	if h := s.host(); h.GetNetOutMbitps() != 5 || len(h.GetFirewallRules()) != 0 || h.GetNetBandwidthMbitps() != 100 {
		t.Errorf("the host shows %v", h)
	}
	user := s.user
	s.user = s.admin()
	s.change(deferred(&vmpb.ChangeHostResourcesRequest{NetBandwidthMbitps: number(200), CpuWeight: number(50)}))
	s.user = user
	if h := s.host(); h.GetNetBandwidthMbitps() != 100 || !h.GetNetBandwidthMbitpsChanged() || h.GetCpuWeight() != 0 {
		t.Errorf("before the stop the host shows %v", h)
	}
	s.power(s.stopIt)
	if h := s.host(); h.GetNetBandwidthMbitps() != 200 || h.GetNetBandwidthMbitpsChanged() || h.GetCpuWeight() != 50 || h.GetNetOutMbitps() != 5 {
		t.Errorf("after the stop the host shows %v", h)
	}
}

// TestCreateWithLimits: limits and rules of a create are in the definition with which the guest starts first.
func TestCreateWithLimits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := wish("web1")
	r.NetInMbitps, r.IoReadMbitps, r.CpuMode, r.CpuCustomModel = 30, 40, "custom", "Nehalem"
	r.FirewallRules = []*vmpb.NewFirewallRule{{Action: "drop", Direction: "out", Protocols: []string{"tcp"}, Portstart: 25}}
	c := w.create(w.as(11, "@user"), r)
	if s := w.done(c.GetTask()); s != "complete" {
		t.Fatal(w.task(c.GetTask()))
	}
	h, err := w.hosts().GetHost(w.admin(), &vmpb.GetHostRequest{Id: c.GetId()})
	if err != nil || h.GetNetInMbitps() != 30 || h.GetCpuCustomModel() != "Nehalem" || len(h.GetFirewallRules()) != 1 {
		t.Errorf("the host shows %v %v", h, err)
	}
	runs := w.agent.machine(h.GetInternalName()).runs
	if runs.GetLinks()[0].GetInMbitps() != 30 || runs.GetDiskLimits().GetReadMbitps() != 40 || runs.GetCpu().GetModel() != "Nehalem" ||
		len(runs.GetLinks()[0].GetFirewall()) != 1 {
		t.Errorf("the machine runs with %v", runs)
	}
	r.CpuCustomModel = "EPYC"
	_, err = w.hosts().CreateHost(w.admin(), r)
	if f, ok := fault.From(err); !ok || f.Field != "cpu_custom_model" || f.Reason != "INVALID_ARGUMENT" {
		t.Errorf("a model that no node has: %v", err)
	}
}
