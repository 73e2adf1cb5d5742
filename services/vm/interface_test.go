package vm_test

import (
	"slices"
	"testing"

	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/fault"
)

// TestCreateWithAnInterface: what a request asks of the host's interface is done, by whichever field it asks.
func TestCreateWithAnInterface(t *testing.T) {
	t.Parallel()
	number, yes := func(n int32) *int32 { return &n }, true
	for name, tt := range map[string]struct {
		card  *vmpb.NewInterface
		pools []int32
		four  []string
		mac   string
	}{
		"as a backup is restored": {&vmpb.NewInterface{IpName: "10.1.9.9", IpCount: number(1)}, nil, []string{"10.1.9.9 active"}, ""},
		"of a pool":               {&vmpb.NewInterface{Ippool: 7, IpCount: number(2), Model: "virtio"}, []int32{7}, []string{"10.1.0.3 active", "10.1.0.4 active"}, ""},
		"without addresses":       {&vmpb.NewInterface{NoIp: true}, nil, nil, ""},
		"with a MAC address":      {&vmpb.NewInterface{Mac: "52-54-00-AB-CD-EF", IsMainNetwork: &yes}, nil, []string{"10.1.0.3 active"}, "52:54:00:ab:cd:ef"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			r := wish("web1")
			r.CustomInterfaces = []*vmpb.NewInterface{tt.card}
			c := w.create(w.admin(), r)
			if s := w.done(c.GetTask()); s != "complete" {
				t.Fatal(w.task(c.GetTask()))
			}
			four, _ := w.ips(c.GetId())
			w.same("addresses", four, tt.four...)
			if len(w.ip.asked) > 0 && !slices.Equal(w.ip.asked[0].GetPoolIds(), tt.pools) {
				t.Errorf("pools %v", w.ip.asked[0].GetPoolIds())
			}
			h, err := w.hosts().GetHost(w.admin(), &vmpb.GetHostRequest{Id: c.GetId()})
			if err != nil {
				t.Fatal(err)
			}
			seed := w.agent.machine(h.GetInternalName()).seed.GetLinks()[0].GetMac()
			if mac := h.GetInterfaces()[0].GetMac(); mac != seed || tt.mac != "" && mac != tt.mac {
				t.Errorf("MAC address %s, on the node %s, want %q", mac, seed, tt.mac)
			}
		})
	}
}

// TestMACIsTheHostsOwn: of two hosts with one hardware address the second is refused, and its addresses are given back.
func TestMACIsTheHostsOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := wish("one")
	r.CustomInterfaces = []*vmpb.NewInterface{{Mac: "52:54:00:00:00:01"}}
	w.done(w.create(w.admin(), r).GetTask())
	r.Name = "two"
	_, err := w.hosts().CreateHost(w.admin(), r)
	if f, _ := fault.From(err); f == nil || f.Field != "custom_interfaces[0].mac" || f.Reason != fault.Conflict.Reason {
		t.Errorf("the same MAC address: %v", err)
	}
	if n := len(w.ip.claims); n != 1 {
		t.Errorf("%d addresses are held", n)
	}
}

// TestIPv6OfItsOwnPools: the IPv6 address comes from the pools that are named for it, in a create and for a host that exists.
func TestIPv6OfItsOwnPools(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := wish("web1")
	r.Ipv4Pool, r.Ipv6Enabled, r.Ipv6Pool, r.Ipv6Prefix = []int32{1}, true, []int32{2}, 64
	c := w.create(w.admin(), r)
	if s := w.done(c.GetTask()); s != "complete" {
		t.Fatal(w.task(c.GetTask()))
	}
	four, six := w.ips(c.GetId())
	if len(four) != 1 || len(six) != 1 || len(w.ip.asked) != 2 {
		t.Fatalf("%q %q by %v", four, six, w.ip.asked)
	}
	first, second := w.ip.asked[0], w.ip.asked[1]
	if !slices.Equal(first.GetPoolIds(), []int32{1}) || !slices.Equal(second.GetPoolIds(), []int32{2}) || first.GetIpv6Count() != 0 {
		t.Errorf("asked %v", w.ip.asked)
	}
	for _, a := range w.ip.asked {
		if !w.ip.confirmed[a.GetKey()] {
			t.Errorf("%v is not confirmed", a)
		}
	}
	h, yes := w.host(), true
	op, err := w.hosts().AddHostIP(w.admin(), &vmpb.AddHostIPRequest{Id: h.GetId(), Ipv4Number: 1, Ipv6Enabled: &yes, Ipv6Pool: []int32{2}})
	if err != nil || w.done(op.GetTask()) != "complete" {
		t.Fatal(op, err)
	}
	if last := w.ip.asked[len(w.ip.asked)-1]; last.GetIpv6Count() != 1 || !slices.Equal(last.GetPoolIds(), []int32{2}) {
		t.Errorf("asked %v", last)
	}
}

// TestRefusedAddressesAreGivenBack: of two claims the first is given back when the second fails or is not what was asked.
func TestRefusedAddressesAreGivenBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h, yes := w.host(), true
	held := w.ip.has(h.GetInternalName())
	for name, tt := range map[string]struct {
		pool, prefix int32
		field        string
	}{
		"no such pool":   {99, 0, "ipv6_pool"},
		"of IPv4 alone":  {3, 0, "ipv6_pool"},
		"another prefix": {2, 48, "ipv6_prefix"},
	} {
		r := wish("bad")
		r.Ipv6Enabled, r.Ipv6Pool, r.Ipv6Prefix = true, []int32{tt.pool}, tt.prefix
		_, err := w.hosts().CreateHost(w.admin(), r)
		if f, _ := fault.From(err); f == nil || f.Field != tt.field {
			t.Errorf("%s: %v", name, err)
		}
		_, err = w.hosts().AddHostIP(w.admin(), &vmpb.AddHostIPRequest{
			Id: h.GetId(), Ipv4Number: 1, Ipv6Enabled: &yes, Ipv6Pool: r.GetIpv6Pool(), Ipv6Prefix: tt.prefix,
		})
		if f, _ := fault.From(err); f == nil || f.Field != tt.field {
			t.Errorf("%s, for a host that exists: %v", name, err)
		}
	}
	if w.ip.has(h.GetInternalName()) != held || len(w.ip.claims) != held {
		t.Errorf("%d addresses are held, want %d", len(w.ip.claims), held)
	}
}

// TestNothingIsAskedInVain: a request that asks for what is not done is refused, in every call of hosts.
func TestNothingIsAskedInVain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.host()
	create := func(spoil func(*vmpb.CreateHostRequest)) func() error {
		return func() error {
			r := wish("bad")
			spoil(r)
			_, err := w.hosts().CreateHost(w.admin(), r)
			return err
		}
	}
	for field, try := range map[string]func() error{
		"recipe_list[0].recipe": create(func(r *vmpb.CreateHostRequest) { r.RecipeList = []*vmpb.NewRecipe{{Recipe: 11}} }),
		"vxlan[0].id":           create(func(r *vmpb.CreateHostRequest) { r.Vxlan = []*vmpb.NewVxlan{{Id: 16}} }),
		"storage":               create(func(r *vmpb.CreateHostRequest) { r.Storage = 9 }),
		"disks[1].storage": create(func(r *vmpb.CreateHostRequest) {
			r.Disks = []*vmpb.NewDisk{{SizeMib: 64, Storage: 1}, {SizeMib: 64, Storage: 9}}
		}),
		"hdd_mib": create(func(r *vmpb.CreateHostRequest) {
			size := int32(100)
			r.HddMib, r.Disks = &size, []*vmpb.NewDisk{{SizeMib: 200}}
		}),
		"balancer_mode": create(func(r *vmpb.CreateHostRequest) { r.BalancerMode = "sometimes" }),
		"values": func() error {
			_, err := w.hosts().UpdateHost(w.admin(), &vmpb.UpdateHostRequest{Id: h.GetId(), Values: &vmpb.HostValues{State: "active"}})
			return err
		},
		"host_id": func() error {
			_, err := w.hosts().StopHost(w.admin(), &vmpb.StopHostRequest{Id: h.GetId(), HostId: h.GetId() + 1})
			return err
		},
		"interfaces[0]": func() error {
			_, err := w.hosts().AddHostIP(w.admin(), &vmpb.AddHostIPRequest{Id: h.GetId(), Ipv4Number: 1, Interfaces: []*vmpb.NewInterfacePools{{}}})
			return err
		},
	} {
		if f, _ := fault.From(try()); f == nil || f.Reason != fault.Invalid.Reason || f.Field != field {
			t.Errorf("%s: %+v", field, f)
		}
	}
	if list, err := w.hosts().ListHosts(w.admin(), &vmpb.ListHostsRequest{}); err != nil || list.GetSize() != 1 {
		t.Errorf("hosts %v %v", list, err)
	}
	if _, err := w.hosts().StopHost(w.admin(), &vmpb.StopHostRequest{Id: h.GetId(), HostId: h.GetId()}); err != nil {
		t.Errorf("the host twice: %v", err)
	}
}

// TestBindPoolLeavesOut: a cluster that the request lists as not enabled takes nothing from the pool.
func TestBindPoolLeavesOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	yes, no := true, false
	clusters := vmpb.NewClusterServiceClient(w.conn)
	for _, tt := range []struct {
		enabled *bool
		want    int
	}{{nil, 1}, {&yes, 1}, {&no, 0}} {
		_, err := clusters.BindPool(w.admin(), &vmpb.BindPoolRequest{Id: 3, Clusters: []*vmpb.PoolBinding{{Id: 1, Name: "default", Enabled: tt.enabled}}})
		if err != nil || len(w.pools.last.GetClusters()) != tt.want {
			t.Errorf("enabled %v: %v, %v", tt.enabled, w.pools.last, err)
		}
	}
}
