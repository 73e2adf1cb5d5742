package vm_test

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/structpb"

	authpb "slipway.dev/proto/auth/v4"
	ippb "slipway.dev/proto/ip/v3"
	nodepb "slipway.dev/proto/node/v1"
	querypb "slipway.dev/proto/query/v1"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
)

// cryptForm is a hash that every crypt(3) takes: glibc's refuses a salt with other letters, a plus sign for instance.
var cryptForm = regexp.MustCompile(`^\$6\$[./0-9A-Za-z]{16}\$[./0-9A-Za-z]{86}$`)

func TestLifeOfAHost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.create(w.admin(), wish("web1"))
	if s := w.task(c.GetTask()); s.GetName() != "host_create" || s.GetConsulId() != s.GetId() {
		t.Fatalf("the task is not there as soon as the answer: %v", s)
	}
	if s := w.done(c.GetTask()); s != "complete" {
		t.Fatalf("create is %s: %v", s, w.task(c.GetTask()))
	}
	h, err := w.hosts().GetHost(w.admin(), &vmpb.GetHostRequest{Id: c.GetId()})
	if err != nil || h.GetState() != "active" || h.GetIp4()[0].GetIp() != "10.1.0.3" || h.GetIp4()[0].GetInterface() != "eth0" || h.GetDisk().GetDiskMib() != 64 || h.GetTask() != nil {
		t.Fatalf("host %v %v", h, err)
	}
	m := w.agent.machine(h.GetInternalName())
	if !m.defined || m.state != nodepb.MachineState_MACHINE_STATE_RUNNING || m.seed.GetHostname() != "web1" || m.seed.GetFqdn() != "web1.test" ||
		!cryptForm.MatchString(m.seed.GetPasswordHash()) || m.seed.GetSshKeys()[0] != "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOt6W6cNdd8jz7uybrGrIlhQ46xn0Q5nTRmkxY5T9AIU" ||
		m.seed.GetLinks()[0].GetAddresses()[0] != "10.1.0.3/16" || m.seed.GetDns()[0] != "192.0.2.53" {
		t.Errorf("machine %+v", m)
	}
	if n := w.agent.networks[0]; n.GetName() != "br0" || n.GetAddresses()[0] != "10.1.0.1/16" || n.GetNat()[0] != "10.1.0.0/16" ||
		n.GetGuests()[0] != "10.1.0.3" {
		t.Errorf("network %v", n)
	}
	if !w.ip.confirmed[h.GetInternalName()] {
		t.Error("the address was not confirmed")
	}
	for _, step := range []struct {
		do    func() (int32, error)
		state string
	}{
		{func() (int32, error) {
			op, err := w.hosts().StopHost(w.admin(), &vmpb.StopHostRequest{Id: h.GetId()})
			return op.GetTask(), err
		}, "stopped"},
		{func() (int32, error) {
			op, err := w.hosts().StartHost(w.admin(), &vmpb.StartHostRequest{Id: h.GetId()})
			return op.GetTask(), err
		}, "active"},
		{func() (int32, error) {
			op, err := w.hosts().RestartHost(w.admin(), &vmpb.RestartHostRequest{Id: h.GetId()})
			return op.GetStartTask(), err
		}, "active"},
		{func() (int32, error) {
			op, err := w.hosts().DeleteHost(w.admin(), &vmpb.DeleteHostRequest{Id: h.GetId()})
			return op.GetTask(), err
		}, ""},
	} {
		task, err := step.do()
		if err != nil {
			t.Fatal(err)
		}
		if s := w.done(task); s != "complete" || w.state(h.GetId()) != step.state {
			t.Errorf("task %v, host %q, want %q", w.task(task), w.state(h.GetId()), step.state)
		}
	}
	w.nothingLeft()
}

func TestOperationsOfOneHostWaitForEachOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.create(w.admin(), wish("a"))
	stop, err := w.hosts().StopHost(w.admin(), &vmpb.StopHostRequest{Id: c.GetId()})
	if err != nil {
		t.Fatal(err)
	}
	start, err := w.hosts().StartHost(w.admin(), &vmpb.StartHostRequest{Id: c.GetId()})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []int32{c.GetTask(), stop.GetTask(), start.GetTask()} {
		if s := w.done(id); s != "complete" {
			t.Errorf("task %v", w.task(id))
		}
	}
	if s := w.state(c.GetId()); s != "active" {
		t.Errorf("state %s", s)
	}
	hist, err := w.hosts().ListHostHistory(w.admin(), &vmpb.ListHostHistoryRequest{Id: c.GetId()})
	if err != nil || hist.GetMaxId() != start.GetTask() || len(hist.GetList()) != 3 || hist.GetList()[0].GetName() != "host_start" {
		t.Errorf("history %v %v", hist, err)
	}
}

func TestCreateRefusesBeforeAnythingIsMade(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	number := func(n int32) *int32 { return &n }
	for name, tt := range map[string]struct {
		spoil  func(*vmpb.CreateHostRequest)
		reason string
		field  string
	}{
		"no such cluster": {func(r *vmpb.CreateHostRequest) { r.Cluster = number(9) }, "INVALID_ARGUMENT", "cluster"},
		"no such os":      {func(r *vmpb.CreateHostRequest) { r.Os = 9 }, "INVALID_ARGUMENT", "os"},
		"no such node":    {func(r *vmpb.CreateHostRequest) { r.Node = number(9) }, "INVALID_ARGUMENT", "node"},
		"no such account": {func(r *vmpb.CreateHostRequest) { r.Account = number(9) }, "INVALID_ARGUMENT", "account"},
		"too much RAM":    {func(r *vmpb.CreateHostRequest) { r.RamMib = number(99999) }, "NO_CAPACITY", "ram_mib"},
		"too much disk":   {func(r *vmpb.CreateHostRequest) { r.HddMib = number(9999999) }, "NO_CAPACITY", "hdd_mib"},
		"huge disk":       {func(r *vmpb.CreateHostRequest) { r.HddMib = number(64 << 20) }, "NO_CAPACITY", "hdd_mib"},
		"too little RAM":  {func(r *vmpb.CreateHostRequest) { r.RamMib = number(1) }, "INVALID_ARGUMENT", "ram_mib"},
		"too many IPs":    {func(r *vmpb.CreateHostRequest) { r.Ipv4Number = number(64); w.ip.free = 3 }, "NO_FREE_ADDRESS", ""},
		"no name":         {func(r *vmpb.CreateHostRequest) { r.Name = "" }, "INVALID_ARGUMENT", "name"},
	} {
		r := wish("bad")
		tt.spoil(r)
		_, err := w.hosts().CreateHost(w.admin(), r)
		f, ok := fault.From(err)
		if !ok || f.Reason != tt.reason || f.Field != tt.field {
			t.Errorf("%s: %+v", name, err)
		}
	}
	w.nothingLeft()
	list, err := w.hosts().ListHosts(w.admin(), &vmpb.ListHostsRequest{})
	if err != nil || list.GetSize() != 0 {
		t.Errorf("hosts %v %v", list, err)
	}
}

func TestFailedCreateIsTakenBack(t *testing.T) {
	t.Parallel()
	for _, call := range []string{"EnsureNetwork", "EnsureDisk", "EnsureSeed", "DefineMachine", "StartMachine"} {
		t.Run(call, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.agent.failOn(call, fault.Invalid.With("this will never work").Wrap(errors.New("secret path")))
			c := w.create(w.admin(), wish("web1"))
			if s := w.done(c.GetTask()); s != "failed" {
				t.Fatalf("task %v", w.task(c.GetTask()))
			}
			if out := w.task(c.GetTask()).GetOutput(); !strings.Contains(out, "this will never work") || strings.Contains(out, "secret") {
				t.Errorf("output %q", out)
			}
			if s := w.state(c.GetId()); s != "" {
				t.Errorf("host is %s", s)
			}
			w.nothingLeft()
			if r := w.ip.released[0]; r.GetUnused() != (call != "StartMachine") {
				t.Errorf("the machine was started or not, and its addresses are given back with %v", r)
			}
		})
	}
}

// TestRefusedCreateTakesNoAddress: what has no chance is refused before addresses are taken from others.
func TestRefusedCreateTakesNoAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one := 1.0
	if _, err := w.limits().SetLimits(w.admin(), &vmpb.SetLimitsRequest{Id: 11, Ipv4NumberTotal: structpb.NewNumberValue(one)}); err != nil {
		t.Fatal(err)
	}
	h := w.create(w.as(11, identity.RoleUser), wish("web1"))
	w.done(h.GetTask())
	before, number := w.ip.reserves, func(n int32) *int32 { return &n }
	create := func(spoil func(*vmpb.CreateHostRequest)) error {
		r := wish("bad")
		spoil(r)
		_, err := w.hosts().CreateHost(w.admin(), r)
		return err
	}
	w.reason("RAM", create(func(r *vmpb.CreateHostRequest) { r.RamMib = number(99999) }), "NO_CAPACITY")
	w.reason("disk", create(func(r *vmpb.CreateHostRequest) { r.HddMib = number(9999999) }), "NO_CAPACITY")
	w.reason("node", create(func(r *vmpb.CreateHostRequest) { r.Node = number(9) }), "INVALID_ARGUMENT")
	w.reason("limit, by a wish", create(func(r *vmpb.CreateHostRequest) {
		r.Account, r.Ipv4Number, r.IpAddr = number(11), number(0), &vmpb.NewAddress{Name: "10.1.9.9"}
	}), "QUOTA_EXCEEDED")
	_, err := w.hosts().AddHostIP(w.admin(), &vmpb.AddHostIPRequest{Id: h.GetId(), Ipv4Number: 1})
	w.reason("limit of a host that exists", err, "QUOTA_EXCEEDED")
	_, err = w.hosts().AddHostIP(w.admin(), &vmpb.AddHostIPRequest{Id: h.GetId(), Ipv4Number: 64})
	w.reason("too many for a host", err, "INVALID_ARGUMENT")
	if w.ip.reserves != before {
		t.Errorf("%d reservations of requests that were refused", w.ip.reserves-before)
	}
}

// TestSilentNodes: while all nodes are silent, as after a time without a database, a create is to be repeated. Nodes that take no
// hosts by an administrator's wish have no room.
func TestSilentNodes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, tt := range []struct{ node, want string }{
		{"seen_at = '-infinity'", "UNAVAILABLE"},
		{"maintenance = true", "NO_CAPACITY"},
		{"seen_at = now()", "NO_CAPACITY"},
		{"maintenance = false", ""},
	} {
		if _, err := w.deps.Pool.Exec(t.Context(), `UPDATE node SET `+tt.node); err != nil {
			t.Fatal(err)
		}
		_, host := w.hosts().CreateHost(w.admin(), wish("web"))
		_, disk := vmpb.NewDiskServiceClient(w.conn).CreateDisk(w.admin(), &vmpb.CreateDiskRequest{Name: "d", SizeMib: 1, Node: w.nodeID})
		for what, err := range map[string]error{"host": host, "disk": disk} {
			if f, _ := fault.From(err); (err == nil) != (tt.want == "") || err != nil && (f == nil || f.Reason != tt.want) {
				t.Errorf("%s: %s: %v, want %q", tt.node, what, err, tt.want)
			}
		}
	}
}

// TestWishCountsAsOne: a wished address is given whatever number is asked for beside it.
func TestWishCountsAsOne(t *testing.T) {
	t.Parallel()
	zero, number := int32(0), func(n int32) *int32 { return &n }
	for name, tt := range map[string]struct {
		number    *int32
		ip        *vmpb.NewAddress
		v6        bool
		four, six []string
		fails     bool
	}{
		"IPv4, none asked for":         {number: &zero, ip: &vmpb.NewAddress{Name: "10.1.9.9"}, four: []string{"10.1.9.9 active"}},
		"IPv4, one asked for":          {number: number(1), ip: &vmpb.NewAddress{Name: "10.1.9.9"}, four: []string{"10.1.9.9 active"}},
		"IPv6, no IPv4 asked for":      {number: &zero, ip: &vmpb.NewAddress{Name: "fd00::99"}, six: []string{"fd00::99"}},
		"IPv6 enabled besides":         {number: &zero, ip: &vmpb.NewAddress{Name: "fd00::99"}, v6: true, six: []string{"fd00::99"}},
		"IPv6, one IPv4":               {ip: &vmpb.NewAddress{Name: "fd00::99"}, four: []string{"10.1.0.3 active"}, six: []string{"fd00::99"}},
		"none":                         {number: &zero, ip: &vmpb.NewAddress{}},
		"of a pool, none asked for":    {number: &zero, ip: &vmpb.NewAddress{IpPool: 1}, fails: true},
		"of a network, none asked for": {number: &zero, ip: &vmpb.NewAddress{IpNetwork: 1}, fails: true},
		"IPv6 of a network, no IPv4":   {number: &zero, ip: &vmpb.NewAddress{IpNetwork: 1}, v6: true, six: []string{"fd00::1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			r := wish("web1")
			r.Ipv4Number, r.IpAddr, r.Ipv6Enabled = tt.number, tt.ip, tt.v6
			c, err := w.hosts().CreateHost(w.admin(), r)
			if tt.fails {
				if f, _ := fault.From(err); f == nil || f.Field != "ipv4_number" {
					t.Error(c, err)
				}
				return
			}
			if err != nil || w.done(c.GetTask()) != "complete" {
				t.Fatal(c, err)
			}
			four, six := w.ips(c.GetId())
			w.same("IPv4", four, tt.four...)
			w.same("IPv6", six, tt.six...)
		})
	}
}

func TestTransientFailureIsRetried(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.agent.failOn("StartMachine", fault.Unavailable)
	c := w.create(w.admin(), wish("web1"))
	w.wait("an attempt has failed", func() bool { return strings.Contains(w.task(c.GetTask()).GetOutput(), "not available") })
	if s := w.task(c.GetTask()).GetStatus(); s != "running" {
		t.Errorf("between two attempts the task is %s", s)
	}
	w.agent.failOn("StartMachine", nil)
	if s := w.done(c.GetTask()); s != "complete" || w.state(c.GetId()) != "active" {
		t.Errorf("task %s, host %s", s, w.state(c.GetId()))
	}
}

func TestDeleteWhileCreating(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.agent.hold, w.agent.reached = make(chan struct{}), make(chan struct{})
	reached := w.agent.reached
	c := w.create(w.admin(), wish("web1"))
	<-reached
	op, err := w.hosts().DeleteHost(w.admin(), &vmpb.DeleteHostRequest{Id: c.GetId()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.hosts().StartHost(w.admin(), &vmpb.StartHostRequest{Id: c.GetId()}); err == nil {
		t.Error("a host that is being deleted was started")
	}
	if s := w.done(c.GetTask()); s != "canceled" {
		t.Errorf("create is %s", s)
	}
	if s := w.done(op.GetTask()); s != "complete" || w.state(c.GetId()) != "" {
		t.Errorf("delete is %s, host %q", s, w.state(c.GetId()))
	}
	w.nothingLeft()
}

// A stop waits behind a create that fails: the host that it was meant for is gone, and the task ends all the same.
func TestTaskBehindAFailedCreateEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hold, reached := make(chan struct{}), make(chan struct{})
	w.agent.with(func() { w.agent.hold, w.agent.reached = hold, reached })
	w.agent.failOn("EnsureSeed", fault.Invalid)
	c := w.create(w.admin(), wish("web"))
	<-reached
	op, err := w.hosts().StopHost(w.admin(), &vmpb.StopHostRequest{Id: c.GetId()})
	if err != nil {
		t.Fatal(err)
	}
	close(hold)
	if create, stop := w.done(c.GetTask()), w.done(op.GetTask()); create != "failed" || stop != "failed" {
		t.Errorf("the create is %s, the stop %s", create, stop)
	}
	w.nothingLeft()
}

func TestRoomIsNeverSoldTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t) // room for 10 hosts of 128 MiB
	var wg sync.WaitGroup
	var mu sync.Mutex
	var made []*vmpb.CreateHostResponse
	for i := range 60 {
		wg.Go(func() {
			c, err := w.hosts().CreateHost(w.admin(), wish(fmt.Sprintf("h%d", i)))
			f, _ := fault.From(err)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				made = append(made, c)
			} else if f == nil || f.Code != codes.ResourceExhausted {
				t.Errorf("refused with %v", err)
			}
		})
	}
	wg.Wait()
	if len(made) != 10 {
		t.Fatalf("%d hosts were sold, there is room for 10", len(made))
	}
	for _, c := range made {
		op, err := w.hosts().DeleteHost(w.admin(), &vmpb.DeleteHostRequest{Id: c.GetId()})
		if err != nil {
			t.Fatal(err)
		}
		w.done(op.GetTask())
	}
	w.nothingLeft()
}

func TestUsersSeeTheirOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mine := w.create(w.as(11, identity.RoleUser), wish("mine"))
	eleven := int32(11)
	r := wish("given")
	r.Account = &eleven
	given := w.create(w.admin(), r)
	other := w.create(w.admin(), wish("other"))
	for _, c := range []*vmpb.CreateHostResponse{mine, given, other} {
		w.done(c.GetTask())
	}
	user := w.as(11, identity.RoleUser)
	list, err := w.hosts().ListHosts(user, &vmpb.ListHostsRequest{})
	if err != nil || list.GetSize() != 2 || len(list.GetList()) != 2 {
		t.Errorf("user sees %v %v", list, err)
	}
	tasks, err := vmpb.NewTaskServiceClient(w.conn).ListTasks(user, &vmpb.ListTasksRequest{})
	if err != nil || tasks.GetSize() != 2 {
		t.Errorf("user sees tasks %v %v", tasks, err)
	}
	foreign := []error{}
	probe := func(_ any, err error) { foreign = append(foreign, err) }
	probe(w.hosts().GetHost(user, &vmpb.GetHostRequest{Id: other.GetId()}))
	probe(w.hosts().StopHost(user, &vmpb.StopHostRequest{Id: other.GetId()}))
	probe(w.hosts().DeleteHost(user, &vmpb.DeleteHostRequest{Id: other.GetId()}))
	probe(w.hosts().UpdateHost(user, &vmpb.UpdateHostRequest{Id: other.GetId()}))
	probe(w.hosts().GetHostConsole(user, &vmpb.GetHostConsoleRequest{Id: other.GetId()}))
	probe(w.hosts().ListHostIPv4(user, &vmpb.ListHostIPv4Request{Id: other.GetId()}))
	probe(w.hosts().ListHostHistory(user, &vmpb.ListHostHistoryRequest{Id: other.GetId()}))
	_, missing := w.hosts().GetHost(user, &vmpb.GetHostRequest{Id: other.GetId() + 1000})
	for i, err := range append(foreign, missing) {
		if f, ok := fault.From(err); !ok || f.Code != codes.NotFound || !strings.HasPrefix(f.Msg, "no host ") {
			t.Errorf("probe %d of a foreign host: %v", i, err)
		}
	}
	if _, err := vmpb.NewNodeServiceClient(w.conn).ListNodes(user, &vmpb.ListNodesRequest{}); err == nil {
		t.Error("a user lists nodes")
	}
	r = wish("taken")
	one := int32(1)
	r.Account = &one
	if _, err := w.hosts().CreateHost(user, r); err == nil {
		t.Error("a user made a host for another account")
	}
	acc, err := vmpb.NewAccountServiceClient(w.conn).ListAccounts(w.admin(), &vmpb.ListAccountsRequest{Query: where("id", "11")})
	if err != nil || acc.GetSize() != 1 || acc.GetList()[0].GetHostCount() != 2 {
		t.Errorf("account %v %v", acc, err)
	}
}

func TestWatchFollowsTheNode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.create(w.admin(), wish("web1"))
	w.done(c.GetTask())
	h, _ := w.hosts().GetHost(w.admin(), &vmpb.GetHostRequest{Id: c.GetId()})
	w.agent.mu.Lock()
	w.agent.machines[h.GetInternalName()].state = nodepb.MachineState_MACHINE_STATE_OFF
	w.agent.mu.Unlock()
	w.wait("the guest's own shutdown is seen", func() bool { return w.state(c.GetId()) == "stopped" })
	w.agent.failOn("ListMachines", fault.Unavailable)
	w.wait("a silent node makes its hosts unknown", func() bool { return w.state(c.GetId()) == "unknown" })
	w.agent.failOn("ListMachines", nil)
	w.register("boot-2") // the node was rebooted: the hosts that are to run are started
	w.wait("the host runs again", func() bool { return w.state(c.GetId()) == "active" })
}

func TestListsFilterAndCount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 3 {
		w.done(w.create(w.admin(), wish(fmt.Sprintf("h%d", i))).GetTask())
	}
	q := where("name", "h1")
	list, err := w.hosts().ListHosts(w.admin(), &vmpb.ListHostsRequest{Query: q})
	if err != nil || list.GetSize() != 1 || list.GetList()[0].GetName() != "h1" {
		t.Errorf("by name: %v %v", list, err)
	}
	list, err = w.hosts().ListHosts(w.admin(), &vmpb.ListHostsRequest{Query: &querypb.Query{
		OrderBy: []*querypb.Order{{Field: "name", Descending: true}}, Offset: 1, Limit: 1,
	}})
	if err != nil || list.GetSize() != 3 || len(list.GetList()) != 1 || list.GetList()[0].GetName() != "h1" {
		t.Errorf("second page: %v %v", list, err)
	}
	list, err = w.hosts().ListHosts(w.admin(), &vmpb.ListHostsRequest{Query: where("ip4", "10.1.0.4")})
	if err != nil || list.GetSize() != 1 {
		t.Errorf("by address: %v %v", list, err)
	}
	_, err = w.hosts().ListHosts(w.admin(), &vmpb.ListHostsRequest{Query: where("password_hash", "x")})
	if f, ok := fault.From(err); !ok || f.Code != codes.InvalidArgument {
		t.Errorf("a secret column is filterable: %v", err)
	}
	n, err := vmpb.NewNodeServiceClient(w.conn).GetNode(w.admin(), &vmpb.GetNodeRequest{Id: w.nodeID})
	if err != nil || n.GetPort() != 22 || n.GetSshUser() != "root" {
		t.Errorf("SSH of the node: %v %v", n, err)
	}
	con, err := w.hosts().GetHostConsole(w.admin(), &vmpb.GetHostConsoleRequest{Id: 1})
	if err != nil || string(con.GetData()) != "hello from the guest\n" {
		t.Errorf("console %v %v", con, err)
	}
	name, comment := "new name", "a comment"
	if _, err := w.hosts().UpdateHost(w.admin(), &vmpb.UpdateHostRequest{Id: 1, Name: &name, Comment: &comment}); err != nil {
		t.Fatal(err)
	}
	h, err := w.hosts().GetHost(w.admin(), &vmpb.GetHostRequest{Id: 1})
	if err != nil || h.GetName() != name || h.GetComment() != comment {
		t.Errorf("renamed: %v %v", h, err)
	}
}

func TestOnlyItsOwnServicesRegisterNodes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := vmpb.NewNodeServiceClient(w.conn).RegisterNode(w.admin(), &vmpb.RegisterNodeRequest{})
	if f, ok := fault.From(err); !ok || f.Code != codes.PermissionDenied {
		t.Errorf("the gateway registered a node: %v", err)
	}
}

func TestKeepsCopiesFromEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	clusters := func() *vmpb.Cluster {
		c, err := vmpb.NewClusterServiceClient(w.conn).GetCluster(w.admin(), &vmpb.GetClusterRequest{Id: 1})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	accounts := func() *vmpb.ListAccountsResponse {
		a, err := vmpb.NewAccountServiceClient(w.conn).ListAccounts(w.admin(), &vmpb.ListAccountsRequest{})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	w.publish("ip.v3.pool.bound", &ippb.PoolBound{Id: 7, ClusterIds: []int32{1, 99}})
	w.wait("the pool is the cluster's", func() bool { p := clusters().GetIppools(); return len(p) == 1 && p[0].GetId() == 7 })
	w.publish("ip.v3.pool.bound", &ippb.PoolBound{Id: 7})
	w.wait("the pool is gone", func() bool { return len(clusters().GetIppools()) == 0 })
	w.publish("auth.v4.user.created", &authpb.UserChanged{Id: 5, Email: "five@example.com", Roles: []string{"@user"}, State: "active"})
	w.wait("the account is known", func() bool { l := accounts().GetList(); return len(l) == 1 && l[0].GetEmail() == "five@example.com" })
	w.publish("auth.v4.user.deleted", &authpb.UserDeleted{Id: 5})
	w.wait("the account is gone", func() bool { return accounts().GetSize() == 0 })
}

// TestIdsStaySmall: signs of life, also two first ones at once, use up no ids. Clients print large ones in ways that are no
// numbers any more.
func TestIdsStaySmall(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 10 {
				w.registerAs("99999999-2222-3333-4444-555555555555", "boot-1", "second")
			}
		})
	}
	wg.Wait()
	nodes, err := vmpb.NewNodeServiceClient(w.conn).ListNodes(w.admin(), &vmpb.ListNodesRequest{})
	if err != nil || nodes.GetSize() != 2 || nodes.GetList()[1].GetId() != 2 {
		t.Errorf("nodes %v %v", nodes, err)
	}
	oses, err := vmpb.NewOSServiceClient(w.conn).ListOS(w.admin(), &vmpb.ListOSRequest{})
	if err != nil || oses.GetSize() != 2 || oses.GetList()[1].GetId() != 2 {
		t.Errorf("templates %v %v", oses, err)
	}
}
