package vm_test

import (
	"testing"

	"google.golang.org/protobuf/proto"

	nodepb "slipway.dev/proto/node/v1"
	querypb "slipway.dev/proto/query/v1"
	vmpb "slipway.dev/proto/vm/v3"
)

// compare returns the query of one comparison.
func compare(field string, op querypb.Operator, value string) *querypb.Query {
	return &querypb.Query{Where: &querypb.Expr{Kind: &querypb.Expr_Compare{Compare: &querypb.Compare{Field: field, Operator: op, Value: value}}}}
}

// TestOSHasATitle: an OS is called what its template calls it, and is found by that and by its slug.
func TestOSHasATitle(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	oses := vmpb.NewOSServiceClient(w.conn)
	title := func(text string) {
		t.Helper()
		if _, err := w.sign(func(r *vmpb.RegisterNodeRequest) { r.Description.Templates[0].Title = text }); err != nil {
			t.Fatal(err)
		}
	}
	only := func() *vmpb.OS {
		t.Helper()
		l, err := oses.ListOS(w.admin(), &vmpb.ListOSRequest{})
		if err != nil || l.GetSize() != 1 {
			t.Fatal(l, err)
		}
		return l.GetList()[0]
	}
	if o := only(); o.GetName() != "tiny" || o.GetSlug() != "tiny" {
		t.Errorf("without a title: %v", o)
	}
	title("Tiny Linux 1.0")
	o := only()
	if o.GetName() != "Tiny Linux 1.0" || o.GetSlug() != "tiny" {
		t.Errorf("with a title: %v", o)
	}
	if want := (&vmpb.OSCluster{Id: 1, Name: "default", UpdatedAt: o.GetUpdatedAt()}); len(o.GetClusters()) != 1 || !proto.Equal(o.GetClusters()[0], want) {
		t.Errorf("clusters %v", o.GetClusters())
	}
	if want := (&vmpb.OSNode{Id: w.nodeID, Name: "n1", IpAddr: "127.0.0.1", SshPort: 22}); len(o.GetNodes()) != 1 || !proto.Equal(o.GetNodes()[0], want) {
		t.Errorf("nodes %v", o.GetNodes())
	}
	h := w.host()
	if h.GetOsName() != "Tiny Linux 1.0" || h.GetOs().GetName() != "Tiny Linux 1.0" {
		t.Errorf("the host's OS: %q %v", h.GetOsName(), h.GetOs())
	}
	eq, ne, cp := querypb.Operator_OPERATOR_EQ, querypb.Operator_OPERATOR_NE, querypb.Operator_OPERATOR_CP
	for _, tt := range []struct {
		op    querypb.Operator
		value string
		want  int32
	}{
		{eq, "Tiny Linux 1.0", 1},
		{eq, "tiny", 1},
		{eq, "Tiny", 0},
		{cp, "%linux%", 1},
		{cp, "tin%", 1},
		{cp, "%bsd%", 0},
		{ne, "tiny", 0},
		{ne, "Tiny Linux 1.0", 0},
		{ne, "other", 1},
	} {
		l, err := oses.ListOS(w.admin(), &vmpb.ListOSRequest{Query: compare("name", tt.op, tt.value)})
		if err != nil || l.GetSize() != tt.want {
			t.Errorf("%v %q: %v %v", tt.op, tt.value, l, err)
		}
		for _, field := range []string{"os.name", "os_name"} {
			l, err := w.hosts().ListHosts(w.admin(), &vmpb.ListHostsRequest{Query: compare(field, tt.op, tt.value)})
			if err != nil || l.GetSize() != tt.want {
				t.Errorf("%s %v %q: %v %v", field, tt.op, tt.value, l, err)
			}
		}
	}
	title("Tiny Linux 1.1")
	if o := only(); o.GetName() != "Tiny Linux 1.1" {
		t.Errorf("with another title: %v", o)
	}
}

// TestHostAnswersWhatIs: the fields that say what a host has and does.
func TestHostAnswersWhatIs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.host()
	if h.GetBalancerMode() != "on" || h.GetCpuNumberNew() != h.GetCpuNumber() || h.GetRamMibNew() != h.GetRamMib() || h.GetVxlan() != nil ||
		h.GetDisk().GetDiskMibNew() != h.GetDisk().GetDiskMib() || !h.GetNetIsSynced() || h.GetIpSummary() != "10.1.0.3" ||
		h.GetInterfaces()[0].GetBridge() != "br0" || h.GetInterfaces()[0].GetNodeInterface() != 0 {
		t.Errorf("host %v", h)
	}
	off := "off"
	if _, err := w.hosts().UpdateHost(w.admin(), &vmpb.UpdateHostRequest{Id: h.GetId(), BalancerMode: &off}); err != nil {
		t.Fatal(err)
	}
	l, err := w.hosts().ListHosts(w.admin(), &vmpb.ListHostsRequest{Query: where("balancer_mode", "off")})
	if err != nil || l.GetSize() != 1 || l.GetList()[0].GetBalancerMode() != "off" {
		t.Errorf("balancer off: %v %v", l, err)
	}
	r := wish("still")
	r.BalancerMode = "off"
	c := w.create(w.admin(), r)
	w.done(c.GetTask())
	if got, err := w.hosts().GetHost(w.admin(), &vmpb.GetHostRequest{Id: c.GetId()}); err != nil || got.GetBalancerMode() != "off" {
		t.Errorf("made with the balancer off: %v %v", got, err)
	}
}

// TestUptime: a host is up since it was started, whoever notices the start; losing sight of it changes nothing.
func TestUptime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.host()
	age := func() {
		t.Helper()
		if _, err := w.deps.Pool.Exec(t.Context(), `UPDATE host SET started_at = started_at - interval '1 hour'`); err != nil {
			t.Fatal(err)
		}
	}
	up := func() int32 {
		t.Helper()
		got, err := w.hosts().GetHost(w.admin(), &vmpb.GetHostRequest{Id: h.GetId()})
		if err != nil {
			t.Fatal(err)
		}
		return got.GetUptime()
	}
	power := func(state nodepb.MachineState, want string) {
		t.Helper()
		w.agent.with(func() { w.agent.machines[h.GetInternalName()].state = state })
		w.wait("the host is "+want, func() bool { return w.state(h.GetId()) == want })
	}
	const hour = 3600
	age()
	if n := up(); n < hour || n > 2*hour {
		t.Errorf("after an hour: %d", n)
	}
	start, err := w.hosts().StartHost(w.admin(), &vmpb.StartHostRequest{Id: h.GetId()})
	if err != nil || w.done(start.GetTask()) != "complete" || up() < hour {
		t.Errorf("a start of a host that runs: %d %v", up(), err)
	}
	power(nodepb.MachineState_MACHINE_STATE_PAUSED, "paused")
	power(nodepb.MachineState_MACHINE_STATE_RUNNING, "active")
	if n := up(); n < hour {
		t.Errorf("after a pause: %d", n)
	}
	power(nodepb.MachineState_MACHINE_STATE_OFF, "stopped")
	if n := up(); n != 0 {
		t.Errorf("stopped: %d", n)
	}
	power(nodepb.MachineState_MACHINE_STATE_RUNNING, "active")
	if n := up(); n >= hour {
		t.Errorf("started by another hand: %d", n)
	}
	age()
	restart, err := w.hosts().RestartHost(w.admin(), &vmpb.RestartHostRequest{Id: h.GetId()})
	if err != nil || w.done(restart.GetTask()) != "complete" || up() >= hour {
		t.Errorf("restarted: %d %v", up(), err)
	}
	age()
	w.register("boot-2")
	if n := up(); n >= hour {
		t.Errorf("the node was rebooted: %d", n)
	}
}

// TestMetadata: what scripts that move a host read.
func TestMetadata(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := wish("web1")
	r.Disks = []*vmpb.NewDisk{{Name: "data", SizeMib: 70, BootOrder: 2}, {Name: "root", SizeMib: 80, BootOrder: 1}}
	c := w.create(w.admin(), r)
	w.done(c.GetTask())
	read := func() *vmpb.HostMetadata {
		t.Helper()
		m, err := w.hosts().GetHostMetadata(w.admin(), &vmpb.GetHostMetadataRequest{Id: c.GetId()})
		if err != nil {
			t.Fatal(err)
		}
		return m.GetMetadata()
	}
	m := read()
	disks := m.GetDisks()
	if m.GetState().GetDisabled() || len(disks) != 2 || disks[0].GetName() != "root" || disks[0].GetBootOrder() != 1 || disks[0].GetSizeMib() != 80 ||
		disks[0].GetStorage().GetId() != 1 || disks[1].GetName() != "data" || m.GetIpv4()[0].GetIpAddr() != "10.1.0.3" || m.GetIpv4()[0].GetIppoolId() != 1 ||
		m.GetBaseResources().GetCpuNumber() != 1 || m.GetBaseResources().GetRamMib() != 128 || m.GetNode().GetIpAddr() != "127.0.0.1" || m.GetPreset() != nil ||
		m.GetName() != "web1" || m.GetDomain() != "web1.test" || m.GetOs().GetId() != 1 || m.GetCluster().GetId() != 1 || m.GetAccount().GetId() != 1 {
		t.Errorf("metadata %v", m)
	}
	if got := w.agent.machine(m.GetInternalName()); got.disks != 2 {
		t.Errorf("machine %+v", got)
	}
	stop, err := w.hosts().StopHost(w.admin(), &vmpb.StopHostRequest{Id: c.GetId()})
	if err != nil || w.done(stop.GetTask()) != "complete" || !read().GetState().GetDisabled() {
		t.Errorf("stopped: %v %v", read(), err)
	}
	again := wish("web2")
	for _, d := range read().GetDisks() {
		again.Disks = append(again.Disks, &vmpb.NewDisk{Name: d.GetName(), SizeMib: d.GetSizeMib(), BootOrder: d.GetBootOrder(), Storage: d.GetStorage().GetId()})
	}
	if s := w.done(w.create(w.admin(), again).GetTask()); s != "complete" {
		t.Errorf("a host like the first: %s", s)
	}
}

// TestHistoryShowsWhatRuns: a client that looks for the task of a call that was just answered sees it running, however soon
// the task ends.
func TestHistoryShowsWhatRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.host()
	entry := func() *vmpb.HistoryItem {
		t.Helper()
		l, err := w.hosts().ListHostHistory(w.admin(), &vmpb.ListHostHistoryRequest{Id: h.GetId()})
		if err != nil {
			t.Fatal(err)
		}
		return l.GetList()[0]
	}
	if _, err := w.deps.Pool.Exec(t.Context(), `UPDATE job SET finished_at = clock_timestamp() + interval '1 hour' WHERE finished_at IS NOT NULL`); err != nil {
		t.Fatal(err)
	}
	if e := entry(); e.GetState() != "running" || w.task(e.GetTask()).GetStatus() != "complete" {
		t.Errorf("just ended: %v", e)
	}
	if _, err := w.deps.Pool.Exec(t.Context(), `UPDATE job SET finished_at = clock_timestamp() - interval '1 second' WHERE finished_at IS NOT NULL`); err != nil {
		t.Fatal(err)
	}
	if e := entry(); e.GetState() != "complete" {
		t.Errorf("ended a second ago: %v", e)
	}
	hold, reached := make(chan struct{}), make(chan struct{})
	w.agent.with(func() { w.agent.hold, w.agent.reached = hold, reached })
	c := w.create(w.admin(), wish("waits"))
	<-reached
	stop, err := w.hosts().StopHost(w.admin(), &vmpb.StopHostRequest{Id: c.GetId()})
	if err != nil {
		t.Fatal(err)
	}
	h = &vmpb.Host{Id: c.GetId()}
	if e := entry(); e.GetTask() != stop.GetTask() || e.GetState() != "running" || w.task(stop.GetTask()).GetStatus() != "created" {
		t.Errorf("a task that waits: %v", e)
	}
	close(hold)
	w.done(stop.GetTask())
}
