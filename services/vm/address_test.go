package vm_test

import (
	"fmt"
	"slices"
	"testing"

	"google.golang.org/grpc/codes"

	ippb "slipway.dev/proto/ip/v3"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
)

// ips lists a host's addresses of IPv4 with their states, and of IPv6.
func (w *world) ips(id int32) (four []string, six []string) {
	w.Helper()
	l, err := w.hosts().ListHostIPv4(w.admin(), &vmpb.ListHostIPv4Request{Id: id})
	if err != nil {
		w.Fatal(err)
	}
	for _, a := range l.GetList() {
		four = append(four, a.GetIpAddr()+" "+a.GetState())
	}
	p, err := w.hosts().GetHostIPv6(w.admin(), &vmpb.GetHostIPv6Request{Id: id})
	if err != nil || p.GetIpv6Enabled() != (len(p.GetList()) > 0) {
		w.Fatal(p, err)
	}
	for _, a := range p.GetList() {
		six = append(six, a.GetIpAddr())
	}
	return four, six
}

func (w *world) same(what string, got []string, want ...string) {
	w.Helper()
	if !slices.Equal(got, want) {
		w.Errorf("%s: %q, want %q", what, got, want)
	}
}

// host makes a host and waits for it.
func (w *world) host() *vmpb.Host {
	w.Helper()
	c := w.create(w.admin(), wish("web1"))
	if s := w.done(c.GetTask()); s != "complete" {
		w.Fatal(w.task(c.GetTask()))
	}
	h, err := w.hosts().GetHost(w.admin(), &vmpb.GetHostRequest{Id: c.GetId()})
	if err != nil {
		w.Fatal(err)
	}
	return h
}

func TestAddressesComeAndGo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ip.dns = []string{"192.0.2.99"}
	h := w.host()
	add := func(r *vmpb.AddHostIPRequest) {
		t.Helper()
		r.Id = h.GetId()
		op, err := w.hosts().AddHostIP(w.admin(), r)
		if err != nil {
			t.Fatal(err)
		}
		if s := w.done(op.GetTask()); s != "complete" || w.task(op.GetTask()).GetName() != "ip_change" {
			t.Fatal(w.task(op.GetTask()))
		}
	}
	yes, no := true, false
	add(&vmpb.AddHostIPRequest{Ipv4Number: 2, Ipv6Enabled: &yes, Ipv6Prefix: 64})
	four, six := w.ips(h.GetId())
	w.same("two more", four, "10.1.0.3 active", "10.1.0.4 active", "10.1.0.5 active")
	w.same("IPv6", six, "fd00::4")
	m := w.agent.machine(h.GetInternalName())
	all := []string{"10.1.0.3/16", "10.1.0.4/16", "10.1.0.5/16", "fd00::4/64"}
	w.same("the card", m.allowed, all...)
	w.same("the seed", m.seed.GetLinks()[0].GetAddresses(), all...)
	w.same("name servers of the network", m.seed.GetDns(), "192.0.2.99")
	add(&vmpb.AddHostIPRequest{Ipv6Enabled: &yes})
	if _, six := w.ips(h.GetId()); len(six) != 1 {
		t.Errorf("IPv6 that is there already: %v", six)
	}
	add(&vmpb.AddHostIPRequest{IpAddr: &vmpb.NewAddress{Name: "10.1.7.7"}, IpList: []*vmpb.NewAddress{{}, {IpPool: 1}}})
	add(&vmpb.AddHostIPRequest{Ipv4Number: -1, Ipv6Enabled: &no})
	four, six = w.ips(h.GetId())
	w.same("one fewer, the last one", four, "10.1.0.3 active", "10.1.0.4 active", "10.1.0.5 active", "10.1.0.7 active")
	w.same("no IPv6", six)
	w.wait("what went was given back", func() bool { return w.ip.has(h.GetInternalName()) == 4 })

	l, _ := w.hosts().ListHostIPv4(w.admin(), &vmpb.ListHostIPv4Request{Id: h.GetId()})
	main, second := l.GetList()[0].GetId(), l.GetList()[1].GetId()
	_, err := w.hosts().RemoveHostIP(w.admin(), &vmpb.RemoveHostIPRequest{Ip: main})
	w.reason("main address", err, "MAIN_ADDRESS")
	_, err = w.hosts().RemoveHostIP(w.admin(), &vmpb.RemoveHostIPRequest{Ip: second, Id: h.GetId() + 1})
	w.reason("of another host", err, "NOT_FOUND")
	_, err = w.hosts().RemoveHostIP(w.as(4), &vmpb.RemoveHostIPRequest{Ip: second})
	w.reason("by a user", err, "PERMISSION_DENIED")
	for _, r := range []*vmpb.RemoveHostIPRequest{{Ip: second, Id: h.GetId()}, {Ip: main, Force: true}} {
		op, err := w.hosts().RemoveHostIP(w.admin(), r)
		if err != nil {
			t.Fatal(err)
		}
		if s := w.done(op.GetTask()); s != "complete" || w.task(op.GetTask()).GetName() != "ip_delete" {
			t.Fatal(w.task(op.GetTask()))
		}
	}
	w.same("the card", w.agent.machine(h.GetInternalName()).allowed, "10.1.0.5/16", "10.1.0.7/16")
	w.wait("given back", func() bool { return w.ip.has(h.GetInternalName()) == 2 })
	op, err := w.hosts().DeleteHost(w.admin(), &vmpb.DeleteHostRequest{Id: h.GetId()})
	if err != nil || w.done(op.GetTask()) != "complete" {
		t.Fatal(err)
	}
	w.nothingLeft()
}

func (w *world) reason(what string, err error, want string) {
	w.Helper()
	if f, ok := fault.From(err); !ok || f.Reason != want {
		w.Errorf("%s: %v, want %s", what, err, want)
	}
}

// TestAddressChangeIsTakenBack: what fails on the node, or was confirmed too late, leaves the host as it was.
func TestAddressChangeIsTakenBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.host()
	for name, tt := range map[string]struct{ call string }{"node": {"DefineMachine"}, "ip": {"Confirm"}} {
		refuse := fault.New(codes.InvalidArgument, "NO", "the node refuses")
		w.agent.mu.Lock()
		w.agent.refuseOnce = map[string]error{tt.call: refuse}
		w.agent.mu.Unlock()
		w.ip.mu.Lock()
		if tt.call == "Confirm" {
			w.ip.fail["Confirm"] = fault.New(codes.FailedPrecondition, "RESERVATION_LAPSED", "lapsed")
		}
		w.ip.mu.Unlock()
		op, err := w.hosts().AddHostIP(w.admin(), &vmpb.AddHostIPRequest{Id: h.GetId(), Ipv4Number: 1})
		if err != nil {
			t.Fatal(err)
		}
		if s := w.done(op.GetTask()); s != "failed" {
			t.Errorf("%s: task %v", name, w.task(op.GetTask()))
		}
		w.ip.mu.Lock()
		delete(w.ip.fail, "Confirm")
		w.ip.mu.Unlock()
		four, _ := w.ips(h.GetId())
		w.same(name+": the host's", four, "10.1.0.3 active")
		w.same(name+": the card", w.agent.machine(h.GetInternalName()).allowed, "10.1.0.3/16")
		w.same(name+": the seed", w.agent.machine(h.GetInternalName()).seed.GetLinks()[0].GetAddresses(), "10.1.0.3/16")
		if n := w.ip.has(h.GetInternalName()); n != 1 {
			t.Errorf("%s: it holds %d addresses", name, n)
		}
	}
	w.ip.mu.Lock()
	w.ip.free = 1
	w.ip.mu.Unlock()
	_, err := w.hosts().AddHostIP(w.admin(), &vmpb.AddHostIPRequest{Id: h.GetId(), IpList: []*vmpb.NewAddress{{IpPool: 1}, {IpPool: 1}}})
	w.reason("one of two is free", err, "NO_FREE_ADDRESS")
	if n := w.ip.has(h.GetInternalName()); n != 1 {
		t.Errorf("it holds %d addresses", n)
	}
	for what, r := range map[string]*vmpb.AddHostIPRequest{
		"nothing": {Id: h.GetId()}, "too many": {Id: h.GetId(), Ipv4Number: 65}, "the main one": {Id: h.GetId(), Ipv4Number: -1},
		"no address": {Id: h.GetId(), IpAddr: &vmpb.NewAddress{Name: "x"}},
	} {
		_, err := w.hosts().AddHostIP(w.admin(), r)
		w.reason(what, err, "INVALID_ARGUMENT")
	}
}

// TestNothingIsGivenBackBeforeTheNodeSaysSo: neither a host's addresses nor a single one.
// The machine's disks are gone, so neither the change nor the way back can be made: the task ends, and the host can be deleted.
func TestAddressChangeWithoutDisksEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.host()
	w.agent.failOn("DefineMachine", fault.New(codes.FailedPrecondition, "DISK_NOT_READY", "a disk of the machine is not there"))
	op, err := w.hosts().AddHostIP(w.admin(), &vmpb.AddHostIPRequest{Id: h.GetId(), Ipv4Number: 1})
	if err != nil {
		t.Fatal(err)
	}
	if s := w.done(op.GetTask()); s != "failed" {
		t.Errorf("the change is %s", s)
	}
	if op, err = w.hosts().DeleteHost(w.admin(), &vmpb.DeleteHostRequest{Id: h.GetId()}); err != nil {
		t.Fatal(err)
	}
	if s := w.done(op.GetTask()); s != "complete" {
		t.Errorf("the delete is %s", s)
	}
	w.nothingLeft()
}

func TestNothingIsGivenBackBeforeTheNodeSaysSo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.host()
	op, err := w.hosts().AddHostIP(w.admin(), &vmpb.AddHostIPRequest{Id: h.GetId(), Ipv4Number: 1})
	if err != nil || w.done(op.GetTask()) != "complete" {
		t.Fatal(err)
	}
	away := fault.Unavailable.With("the node is away")
	w.agent.failOn("DefineMachine", away)
	w.agent.failOn("RemoveMachine", away)
	if op, err = w.hosts().AddHostIP(w.admin(), &vmpb.AddHostIPRequest{Id: h.GetId(), Ipv4Number: -1}); err != nil {
		t.Fatal(err)
	}
	w.wait("the job has tried", func() bool { return w.agent.tried("DefineMachine") > 2 })
	if n := w.ip.has(h.GetInternalName()); n != 2 {
		t.Errorf("%d addresses are held while the node may still have both", n)
	}
	four, _ := w.ips(h.GetId())
	w.same("meanwhile", four, "10.1.0.3 active", "10.1.0.4 removing")
	w.agent.failOn("DefineMachine", nil)
	if s := w.done(op.GetTask()); s != "complete" {
		t.Fatal(w.task(op.GetTask()))
	}
	w.wait("one was given back", func() bool { return w.ip.has(h.GetInternalName()) == 1 })

	if op, err = w.hosts().DeleteHost(w.admin(), &vmpb.DeleteHostRequest{Id: h.GetId()}); err != nil {
		t.Fatal(err)
	}
	w.wait("the delete has tried", func() bool { return w.agent.tried("RemoveMachine") > 2 })
	if n := w.ip.has(h.GetInternalName()); n != 1 {
		t.Errorf("%d addresses are held while the machine may still run", n)
	}
	w.agent.failOn("RemoveMachine", nil)
	if s := w.done(op.GetTask()); s != "complete" {
		t.Fatal(w.task(op.GetTask()))
	}
	w.nothingLeft()
}

// TestPTR: whose host has the address may name it; vm shows the name at once, and ip's events correct it.
func TestPTR(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	owner := int32(11)
	r := wish("web1")
	r.Account = &owner
	c := w.create(w.admin(), r)
	if s := w.done(c.GetTask()); s != "complete" {
		t.Fatal(w.task(c.GetTask()))
	}
	name := func() string {
		l, err := w.hosts().ListHostIPv4(w.admin(), &vmpb.ListHostIPv4Request{Id: c.GetId()})
		if err != nil || len(l.GetList()) != 1 {
			t.Fatal(l, err)
		}
		return l.GetList()[0].GetDomain()
	}
	if got := name(); got != "web1.test" {
		t.Errorf("without a record: %q", got)
	}
	user, other := w.as(11, identity.RoleUser), w.as(12, identity.RoleUser)
	_, err := w.hosts().SetPTR(other, &vmpb.SetPTRRequest{Id: 1, Domain: "theirs.example.com"})
	w.reason("of another's host", err, "NOT_FOUND")
	_, err = w.hosts().SetPTR(user, &vmpb.SetPTRRequest{Id: 999, Domain: "a.example.com"})
	w.reason("of no host", err, "NOT_FOUND")
	if _, err := w.hosts().SetPTR(w.admin(), &vmpb.SetPTRRequest{Id: 999, Domain: "gw.example.com"}); err != nil {
		t.Errorf("of no host, by an administrator: %v", err)
	}
	if _, err := w.hosts().SetPTR(user, &vmpb.SetPTRRequest{Id: 1, Domain: "mine.example.com"}); err != nil || name() != "mine.example.com" {
		t.Errorf("%v %q", err, name())
	}
	domain := func() string {
		h, err := w.hosts().GetHost(w.admin(), &vmpb.GetHostRequest{Id: c.GetId()})
		if err != nil {
			t.Fatal(err)
		}
		return h.GetDomain()
	}
	if got := domain(); got != "mine.example.com" {
		t.Errorf("the host's domain is %q", got)
	}
	state := func() string {
		l, err := w.hosts().ListHostIPv4(user, &vmpb.ListHostIPv4Request{Id: c.GetId()})
		if err != nil || len(l.GetList()) != 1 {
			t.Fatal(l, err)
		}
		return l.GetList()[0].GetPtrState() + " " + l.GetList()[0].GetPtrError()
	}
	if got := state(); got != "waiting " {
		t.Errorf("the owner reads %q of the name that is set", got)
	}
	published := func(domain, state, why string) {
		w.publish("ip.v3.address.published", &ippb.AddressPublished{IpAddr: "10.1.0.3", Domain: domain, State: state, Error: why})
	}
	published("mine.example.com", "failed", "no zone")
	w.wait("the refusal", func() bool { return state() == "failed no zone" })
	published("other.example.com", "published", "") // of a name that the address had before
	published("mine.example.com", "published", "")
	w.wait("the confirmation", func() bool { return state() == "published " })
	w.publish("ip.v3.address.named", &ippb.AddressNamed{Id: 1, Domain: "old.example.com", Serial: 3})
	w.publish("ip.v3.address.named", &ippb.AddressNamed{Id: 1, Domain: "new.example.com", Serial: 99})
	w.wait("the event", func() bool { return name() == "new.example.com" })
	if got := domain(); got != "new.example.com" {
		t.Errorf("after the event the host's domain is %q", got)
	}
	w.publish("ip.v3.network.changed", &ippb.NetworkChanged{Id: 1, Gateway: "10.1.0.254", DnsServers: []string{"192.0.2.1"}})
	// The address is taken away behind vm's back, in another generation and then in this one.
	h, _ := w.hosts().GetHost(w.admin(), &vmpb.GetHostRequest{Id: c.GetId()})
	w.publish("ip.v3.address.released", &ippb.AddressReleased{Id: 1, Owner: h.GetInternalName(), Generation: 7})
	w.publish("ip.v3.address.named", &ippb.AddressNamed{Id: 1, Domain: "last.example.com", Serial: 100})
	w.wait("the event behind it", func() bool { return name() == "last.example.com" })
	w.publish("ip.v3.address.released", &ippb.AddressReleased{Id: 1, Owner: h.GetInternalName(), Generation: 1})
	w.wait("the address is gone", func() bool { four, _ := w.ips(c.GetId()); return len(four) == 0 })
}

// TestLapseOfAHostBeingMade: it does not become a host without the address, but none.
func TestLapseOfAHostBeingMade(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.agent.failOn("ListMachines", fault.Unavailable)
	w.ip.mu.Lock()
	w.ip.fail["Confirm"] = fault.Unavailable.With("ip is away")
	w.ip.mu.Unlock()
	c := w.create(w.admin(), wish("late"))
	h, err := w.hosts().GetHost(w.admin(), &vmpb.GetHostRequest{Id: c.GetId()})
	if err != nil {
		t.Fatal(err)
	}
	w.publish("ip.v3.address.released", &ippb.AddressReleased{Id: 1, Owner: h.GetInternalName(), Generation: 1})
	w.publish("ip.v3.address.named", &ippb.AddressNamed{Id: 1, Domain: "behind.example.com", Serial: 1})
	w.wait("the event behind it", func() bool {
		l, err := w.hosts().ListHostIPv4(w.admin(), &vmpb.ListHostIPv4Request{Id: c.GetId()})
		return err == nil && len(l.GetList()) == 1 && l.GetList()[0].GetDomain() == "behind.example.com"
	})
	w.ip.mu.Lock()
	w.ip.fail["Confirm"] = fault.New(codes.FailedPrecondition, "RESERVATION_LAPSED", "lapsed")
	w.ip.mu.Unlock()
	if s := w.done(c.GetTask()); s != "failed" || w.state(c.GetId()) != "" {
		t.Errorf("task %v, host %q", w.task(c.GetTask()), w.state(c.GetId()))
	}
}

// TestDomainFollowsMainAddress: the host's domain is the name of its main address, the newest one, and of no other; the guest
// has it with its next seed.
func TestDomainFollowsMainAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.host()
	change := func(r *vmpb.AddHostIPRequest) {
		t.Helper()
		r.Id = h.GetId()
		op, err := w.hosts().AddHostIP(w.admin(), r)
		if err != nil {
			t.Fatal(err)
		}
		if s := w.done(op.GetTask()); s != "complete" {
			t.Fatal(w.task(op.GetTask()))
		}
	}
	want := func(what, domain string) {
		t.Helper()
		got, err := w.hosts().GetHost(w.admin(), &vmpb.GetHostRequest{Id: h.GetId()})
		if err != nil || got.GetDomain() != domain {
			t.Errorf("%s: %q %v, want %q", what, got.GetDomain(), err, domain)
		}
	}
	yes, serial := true, int32(100)
	named := func(id int32, domain string) {
		t.Helper()
		serial++
		w.publish("ip.v3.address.named", &ippb.AddressNamed{Id: id, Domain: domain, Serial: serial})
		w.wait("the name is kept", func() bool {
			var got string
			err := w.deps.Pool.QueryRow(t.Context(), `SELECT domain FROM host_address WHERE ip_id = $1`, id).Scan(&got)
			return err == nil && got == domain
		})
	}
	change(&vmpb.AddHostIPRequest{Ipv4Number: 1, Ipv6Enabled: &yes}) // 1 is the main address, then 2, and 3 of IPv6
	named(2, "second.example.com")
	named(3, "six.example.com")
	want("other addresses", "web1.test")
	named(1, "main.example.com")
	want("the main address", "main.example.com")
	named(1, "")
	want("without a name", "main.example.com")
	named(1, "again.example.com")
	change(&vmpb.AddHostIPRequest{Ipv4Number: 1}) // the seed is written
	if m := w.agent.machine(h.GetInternalName()); m.seed.GetFqdn() != "again.example.com" || m.seed.GetHostname() != "again" {
		t.Errorf("the seed says %q, %q", m.seed.GetHostname(), m.seed.GetFqdn())
	}
	remove := func(id int32) {
		t.Helper()
		op, err := w.hosts().RemoveHostIP(w.admin(), &vmpb.RemoveHostIPRequest{Ip: id, Force: true})
		if err != nil || w.done(op.GetTask()) != "complete" {
			t.Fatal(err)
		}
	}
	remove(1)
	want("the second is the main address now", "second.example.com")
	remove(4)
	remove(2)
	want("only IPv6 is left", "six.example.com")
	named(3, "main6.example.com")
	want("the main address of IPv6", "main6.example.com")
	_, err := w.hosts().RemoveHostIP(w.admin(), &vmpb.RemoveHostIPRequest{Ip: 3})
	w.reason("the main address of IPv6", err, "MAIN_ADDRESS")
	no := false
	_, err = w.hosts().AddHostIP(w.admin(), &vmpb.AddHostIPRequest{Id: h.GetId(), Ipv6Enabled: &no})
	w.reason("all addresses of IPv6", err, "MAIN_ADDRESS")
}

// TestFieldsOfAddresses: a refusal of ip names the field with which the client asked, and no other.
func TestFieldsOfAddresses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.host()
	yes, many := true, make([]*vmpb.NewAddress, 64)
	for i := range many {
		many[i] = &vmpb.NewAddress{IpPool: 1}
	}
	create := func(r *vmpb.CreateHostRequest) func() error {
		return func() error {
			r.Name, r.Os, r.Password = "web2", 1, "secret"
			_, err := w.hosts().CreateHost(w.admin(), r)
			return err
		}
	}
	add := func(r *vmpb.AddHostIPRequest) func() error {
		return func() error {
			r.Id = h.GetId()
			_, err := w.hosts().AddHostIP(w.admin(), r)
			return err
		}
	}
	for name, tt := range map[string]struct {
		ips  string // field at fault
		do   func() error
		want string
	}{
		"create, pools":         {"pool_ids", create(&vmpb.CreateHostRequest{Ipv4Pool: []int32{9}}), "ipv4_pool"},
		"create, pool of one":   {"pool_ids", create(&vmpb.CreateHostRequest{IpAddr: &vmpb.NewAddress{IpPool: 9}}), "ip_addr"},
		"create, network":       {"network_id", create(&vmpb.CreateHostRequest{IpAddr: &vmpb.NewAddress{IpNetwork: 9}}), "ip_addr"},
		"create, a certain one": {"wish", create(&vmpb.CreateHostRequest{IpAddr: &vmpb.NewAddress{Name: "192.0.2.9"}}), "ip_addr"},
		"create, IPv6":          {"ipv6_count", create(&vmpb.CreateHostRequest{Ipv6Enabled: true}), "ipv6_enabled"},
		"create, not its doing": {"owner", create(&vmpb.CreateHostRequest{}), ""},
		"add, pools":            {"pool_ids", add(&vmpb.AddHostIPRequest{Ipv4Number: 1, Ipv4Pool: []int32{9}}), "ipv4_pool"},
		"add, list, pool":       {"pool_ids", add(&vmpb.AddHostIPRequest{IpList: []*vmpb.NewAddress{{IpPool: 9}}}), "ip_list"},
		"add, list, one":        {"wish", add(&vmpb.AddHostIPRequest{IpList: []*vmpb.NewAddress{{Name: "192.0.2.9"}}}), "ip_list"},
		"add, one":              {"wish", add(&vmpb.AddHostIPRequest{IpAddr: &vmpb.NewAddress{Name: "192.0.2.9"}}), "ip_addr"},
		"add, network":          {"network_id", add(&vmpb.AddHostIPRequest{IpAddr: &vmpb.NewAddress{IpNetwork: 9}}), "ip_addr"},
		"add, IPv6":             {"ipv6_count", add(&vmpb.AddHostIPRequest{Ipv6Enabled: &yes}), "ipv6_enabled"},
		"list, no address":      {"", add(&vmpb.AddHostIPRequest{IpList: []*vmpb.NewAddress{{Name: "web"}}}), "ip_list"},
		"one, no address":       {"", add(&vmpb.AddHostIPRequest{IpAddr: &vmpb.NewAddress{Name: "web"}}), "ip_addr"},
		"too many in the list":  {"", add(&vmpb.AddHostIPRequest{IpList: many}), "ip_list"},
		"too many":              {"", add(&vmpb.AddHostIPRequest{Ipv4Number: 64}), "ipv4_number"},
	} {
		w.ip.mu.Lock()
		w.ip.fail["Reserve"] = fault.Invalid.With("refused").On(tt.ips)
		w.ip.mu.Unlock()
		f, ok := fault.From(tt.do())
		if !ok || f.Field != tt.want || f.Reason != "INVALID_ARGUMENT" {
			t.Errorf("%s: %+v, want the field %q", name, f, tt.want)
		}
	}
	w.ip.mu.Lock()
	defer w.ip.mu.Unlock()
	if len(w.ip.held) != 1 {
		t.Errorf("%d owners hold addresses", len(w.ip.held))
	}
}

// TestAnyFamily: an address for which only a pool or a network is named is of whichever family that has.
func TestAnyFamily(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create(w.admin(), &vmpb.CreateHostRequest{Name: "a", Os: 1, Password: "secret", IpAddr: &vmpb.NewAddress{IpPool: 6}})
	h := w.create(w.admin(), &vmpb.CreateHostRequest{Name: "b", Os: 1, Password: "secret", Ipv4Number: new(int32(1)), IpAddr: &vmpb.NewAddress{IpPool: 6}})
	if s := w.done(h.GetTask()); s != "complete" {
		t.Fatal(w.task(h.GetTask()))
	}
	_, err := w.hosts().AddHostIP(w.admin(), &vmpb.AddHostIPRequest{Id: h.GetId(), IpList: []*vmpb.NewAddress{{IpNetwork: 6}}})
	if err != nil {
		t.Fatal(err)
	}
	w.ip.mu.Lock()
	defer w.ip.mu.Unlock()
	var got []string
	for _, r := range w.ip.asked {
		got = append(got, fmt.Sprintf("%d of IPv4, %d of any", r.GetIpv4Count(), r.GetAnyCount()))
	}
	w.same("asked", got, "0 of IPv4, 1 of any", "1 of IPv4, 0 of any", "0 of IPv4, 1 of any")
}
