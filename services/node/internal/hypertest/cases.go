package hypertest

import (
	"context"
	"maps"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/google/uuid"

	"slipway.dev/services/node/internal/hyper"
)

func facts(s suite) {
	f, err := s.d.Facts(context.Background())
	s.ok("Facts", err)
	if f.CPUs < 1 || f.MemoryMiB < 1 || f.StorageTotalMiB < 1 || f.StorageFreeMiB > f.StorageTotalMiB ||
		f.CPUModel == "" || f.Hypervisor == "" || f.Accel == "" || f.BootID == "" || f.Kernel == "" || f.OS == "" {
		s.Errorf("facts are incomplete: %+v", f)
	}
}

func life(s suite) {
	ctx, m := context.Background(), Machine(s.T, s.d)
	s.power(m.UUID, hyper.Absent)
	s.ok("Define", s.d.Define(ctx, m))
	s.power(m.UUID, hyper.Off)
	o := s.find(m.UUID)
	if o == nil {
		s.Fatal("defined, and not listed")
	}
	if want := (hyper.Meta{StackID: s.o.StackID, NodeID: o.Meta.NodeID, HostID: m.Meta.HostID, Fence: 7}); o.Meta != want {
		s.Errorf("meta %+v, want %+v", o.Meta, want)
	}
	if want := hyper.DomainName(s.o.StackID, m.Meta.HostID, m.UUID); o.Name != want {
		s.Errorf("name %q, want %q", o.Name, want)
	}
	if list, err := s.d.Addresses(ctx, m.UUID); err != nil || !slices.Equal(list, seedAddresses()) {
		s.Errorf("addresses %v, %v, want %v", list, err, seedAddresses())
	}
	if list, err := s.d.Addresses(ctx, uuid.New()); err != nil || len(list) != 0 {
		s.Errorf("addresses of an unknown machine: %v, %v", list, err)
	}
	s.ok("Start", s.d.Start(ctx, m.UUID))
	s.power(m.UUID, hyper.Running)
	s.ok("Shutdown", s.d.Shutdown(ctx, m.UUID)) // an empty guest may never hear it
	s.ok("PowerOff", s.d.PowerOff(ctx, m.UUID))
	s.power(m.UUID, hyper.Off)
	s.ok("Shutdown when off", s.d.Shutdown(ctx, m.UUID))
	s.ok("Start again", s.d.Start(ctx, m.UUID))
	s.power(m.UUID, hyper.Running)
	s.ok("Remove running", s.d.Remove(ctx, m.UUID))
	s.clean(m.UUID)
}

// twice: the second time is success and changes nothing.
func twice(s suite) {
	ctx, m := context.Background(), Machine(s.T, s.d)
	for range 2 {
		s.ok("EnsureDisk", s.d.EnsureDisk(ctx, m.UUID, m.Disks[0]))
		s.ok("EnsureSeed", s.d.EnsureSeed(ctx, m.UUID, Seed()))
	}
	for range 2 {
		s.ok("Define", s.d.Define(ctx, m))
		s.power(m.UUID, hyper.Off)
	}
	for range 2 {
		s.ok("Start", s.d.Start(ctx, m.UUID))
		s.power(m.UUID, hyper.Running)
	}
	s.ok("EnsureDisk while running", s.d.EnsureDisk(ctx, m.UUID, m.Disks[0]))
	s.ok("EnsureSeed while running", s.d.EnsureSeed(ctx, m.UUID, Seed()))
	s.ok("Define while running", s.d.Define(ctx, m))
	s.power(m.UUID, hyper.Running)
	for range 2 {
		s.ok("PowerOff", s.d.PowerOff(ctx, m.UUID))
		s.power(m.UUID, hyper.Off)
	}
	for range 2 {
		s.ok("Remove", s.d.Remove(ctx, m.UUID))
		s.clean(m.UUID)
	}
}

func unknown(s suite) {
	ctx, id := context.Background(), uuid.New()
	s.power(id, hyper.Absent)
	s.is("Start", s.d.Start(ctx, id), hyper.ErrNotDefined)
	s.is("Shutdown", s.d.Shutdown(ctx, id), hyper.ErrNotDefined)
	s.ok("PowerOff", s.d.PowerOff(ctx, id))
	s.ok("Remove", s.d.Remove(ctx, id))
	s.clean(id)

	m := Machine(s.T, s.d) // disks, no definition
	s.is("Start undefined", s.d.Start(ctx, m.UUID), hyper.ErrNotDefined)
	s.power(m.UUID, hyper.Absent)
	s.ok("Remove undefined", s.d.Remove(ctx, m.UUID))
	s.clean(m.UUID)
}

func refuses(s suite) {
	ctx, m := context.Background(), Machine(s.T, s.d)
	for _, name := range []string{"", "../root", "a/b", "-o", "a\x00", "a\nb", strings.Repeat("a", 4096)} {
		s.is("EnsureDisk "+name, s.d.EnsureDisk(ctx, m.UUID, hyper.Disk{Name: name, SizeMiB: 1}), hyper.ErrInvalid)
	}
	s.is("EnsureDisk of nothing", s.d.EnsureDisk(ctx, m.UUID, hyper.Disk{Name: "root"}), hyper.ErrInvalid)
	s.is("EnsureDisk of a path", s.d.EnsureDisk(ctx, m.UUID, hyper.Disk{Name: "t", SizeMiB: 1, Template: "/etc/passwd"}), hyper.ErrInvalid)
	bad := Seed()
	bad.Hostname = "a\nruncmd: [id]"
	s.is("EnsureSeed", s.d.EnsureSeed(ctx, m.UUID, bad), hyper.ErrInvalid)
	tiny := m
	tiny.MemoryMiB = 0
	s.is("Define", s.d.Define(ctx, tiny), hyper.ErrInvalid)
	missing := m
	missing.Disks = []hyper.Disk{{Name: "other", SizeMiB: 1}}
	s.is("Define without its disk", s.d.Define(ctx, missing), hyper.ErrNoDisk)
	seedless := m
	seedless.UUID, seedless.Disks = uuid.New(), nil
	s.is("Define without its seed", s.d.Define(ctx, seedless), hyper.ErrNoDisk)
	s.power(m.UUID, hyper.Absent)
	s.is("EnsureNetwork", s.d.EnsureNetwork(ctx, hyper.Network{Name: "much-too-long-a-name"}), hyper.ErrInvalid)
}

func disks(s suite) {
	ctx, m := context.Background(), Machine(s.T, s.d)
	grown := hyper.Disk{Name: "root", SizeMiB: 16}
	s.ok("grow", s.d.EnsureDisk(ctx, m.UUID, grown))
	s.is("shrink", s.d.EnsureDisk(ctx, m.UUID, m.Disks[0]), hyper.ErrDiskShrinks)
	second := hyper.Disk{Name: "data-1", SizeMiB: 4}
	s.ok("second", s.d.EnsureDisk(ctx, m.UUID, second))
	m.Disks = []hyper.Disk{grown, second}
	s.ok("Define", s.d.Define(ctx, m))
	s.ok("Start", s.d.Start(ctx, m.UUID))
	grown.SizeMiB = 24
	s.ok("grow while running", s.d.EnsureDisk(ctx, m.UUID, grown))
	s.ok("the same again", s.d.EnsureDisk(ctx, m.UUID, grown))
	grown.SizeMiB = 16
	s.is("shrink while running", s.d.EnsureDisk(ctx, m.UUID, grown), hyper.ErrDiskShrinks)
	s.ok("Remove", s.d.Remove(ctx, m.UUID))
	s.clean(m.UUID)
}

// redefine: a later definition wins, on a machine that runs too.
func redefine(s suite) {
	ctx, m := context.Background(), Machine(s.T, s.d)
	s.ok("Define", s.d.Define(ctx, m))
	s.ok("Start", s.d.Start(ctx, m.UUID))
	m.CPUs, m.MemoryMiB, m.Meta.Fence, m.Name = 2, 96, 9, "renamed"
	s.ok("Define", s.d.Define(ctx, m))
	s.power(m.UUID, hyper.Running)
	if o := s.find(m.UUID); o == nil || o.Meta.Fence != 9 {
		s.Errorf("fence is not kept: %+v", o)
	}
	s.ok("PowerOff", s.d.PowerOff(ctx, m.UUID))
	s.ok("Start", s.d.Start(ctx, m.UUID))
	if o := s.find(m.UUID); o == nil || o.Meta.Fence != 9 {
		s.Errorf("fence is lost by a restart: %+v", o)
	}
}

func cancelled(s suite) {
	m := Machine(s.T, s.d)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	s.is("Define", s.d.Define(ctx, m), context.Canceled)
	_, err := s.d.List(ctx)
	s.is("List", err, context.Canceled)
	s.power(m.UUID, hyper.Absent)
}

// parallel: many machines at once, and many calls for one.
func parallel(s suite) {
	ctx := context.Background()
	var ms []hyper.Machine
	for range 3 {
		ms = append(ms, Machine(s.T, s.d))
	}
	var wg sync.WaitGroup
	for _, m := range ms {
		for range 2 {
			wg.Go(func() {
				if err := s.d.Define(ctx, m); err != nil {
					s.Errorf("Define: %v", err)
				}
				if err := s.d.Start(ctx, m.UUID); err != nil {
					s.Errorf("Start: %v", err)
				}
				if _, err := s.d.List(ctx); err != nil {
					s.Errorf("List: %v", err)
				}
			})
		}
	}
	wg.Wait()
	for _, m := range ms {
		s.power(m.UUID, hyper.Running)
		for range 2 {
			wg.Go(func() {
				if err := s.d.Remove(ctx, m.UUID); err != nil {
					s.Errorf("Remove: %v", err)
				}
			})
		}
	}
	wg.Wait()
	for _, m := range ms {
		s.clean(m.UUID)
	}
}

func templates(s suite) {
	ctx, m := context.Background(), Machine(s.T, s.d)
	d := hyper.Disk{Name: "boot", SizeMiB: s.o.TemplateMiB + 8, Template: s.o.Template}
	none := d
	none.Template = strings.Repeat("0", 64)
	s.is("EnsureDisk of a template that is not here", s.d.EnsureDisk(ctx, m.UUID, none), hyper.ErrNoTemplate)
	for range 2 {
		s.ok("EnsureDisk", s.d.EnsureDisk(ctx, m.UUID, d))
	}
	other := d
	other.Template = ""
	s.is("EnsureDisk over another template", s.d.EnsureDisk(ctx, m.UUID, other), hyper.ErrInvalid)
	d.SizeMiB += 8
	s.ok("grow", s.d.EnsureDisk(ctx, m.UUID, d))
	m.Disks = []hyper.Disk{d}
	s.ok("Define", s.d.Define(ctx, m))
	s.ok("Start", s.d.Start(ctx, m.UUID))
	s.power(m.UUID, hyper.Running)
}

func network(s suite) {
	ctx, m, n := context.Background(), Machine(s.T, s.d), s.o.Network(s.T)
	m.NICs = []hyper.NIC{{MAC: net.HardwareAddr{0x52, 0x54, 0, 9, 9, 9}, Network: n.Name, AntiSpoofing: true}}
	for _, p := range n.Addresses {
		m.NICs[0].Addresses = append(m.NICs[0].Addresses, p.Addr().Next())
	}
	s.ok("Define", s.d.Define(ctx, m))
	s.is("Start without its bridge", s.d.Start(ctx, m.UUID), hyper.ErrNoNetwork)
	s.ok("RemoveNetwork that is not there", s.d.RemoveNetwork(ctx, n.Name))
	for range 2 {
		s.ok("EnsureNetwork", s.d.EnsureNetwork(ctx, n))
	}
	s.ok("Start", s.d.Start(ctx, m.UUID))
	s.is("RemoveNetwork in use", s.d.RemoveNetwork(ctx, n.Name), hyper.ErrNetworkInUse)
	s.ok("Remove", s.d.Remove(ctx, m.UUID))
	for range 2 {
		s.ok("RemoveNetwork", s.d.RemoveNetwork(ctx, n.Name))
	}
	s.clean(m.UUID)
}

func crash(s suite) {
	ctx, m := context.Background(), Machine(s.T, s.d)
	s.ok("Define", s.d.Define(ctx, m))
	s.ok("Start", s.d.Start(ctx, m.UUID))
	s.o.Crash(s.T, s.d, m.UUID)
	s.waitState(m.UUID, hyper.Crashed)
	s.ok("PowerOff", s.d.PowerOff(ctx, m.UUID))
	s.ok("Start", s.d.Start(ctx, m.UUID))
	s.power(m.UUID, hyper.Running)
}

// loss: a machine without one of its files does not start, and the fault names the file.
func loss(s suite) {
	ctx, m := context.Background(), Machine(s.T, s.d)
	second := hyper.Disk{Name: "data-1", SizeMiB: 4}
	s.ok("second", s.d.EnsureDisk(ctx, m.UUID, second))
	m.Disks = append(m.Disks, second)
	s.ok("Define", s.d.Define(ctx, m))
	for _, disk := range m.Disks {
		s.o.Lose(s.T, s.d, m.UUID, disk.Name)
		err := s.d.Start(ctx, m.UUID)
		s.is("Start without "+disk.Name, err, hyper.ErrNoDisk)
		if err == nil || !strings.Contains(err.Error(), disk.Name) {
			s.Errorf("the fault names no disk: %v", err)
		}
		s.power(m.UUID, hyper.Off)
		s.ok("EnsureDisk", s.d.EnsureDisk(ctx, m.UUID, disk))
	}
	s.ok("Start", s.d.Start(ctx, m.UUID))
	s.power(m.UUID, hyper.Running)
}

// addresses: the rules of a running machine's card follow its definition at once, and outlive a restart.
func addresses(s suite) {
	ctx, m, n := context.Background(), Machine(s.T, s.d), s.o.Network(s.T)
	s.ok("EnsureNetwork", s.d.EnsureNetwork(ctx, n))
	one, two := netip.MustParseAddr("192.0.2.4"), netip.MustParseAddr("2001:db8::4")
	check := func(when string, want ...netip.Addr) {
		s.Helper()
		if got := s.o.Allowed(s.T, s.d, m.UUID); !slices.Equal(got, want) {
			s.Errorf("%s the card may use %v, want %v", when, got, want)
		}
	}
	define := func(list ...netip.Addr) {
		s.Helper()
		m.NICs = []hyper.NIC{{
			MAC: net.HardwareAddr{0x52, 0x54, 0, 0, 7, 7}, Network: n.Name, AntiSpoofing: true, Addresses: list,
		}}
		s.ok("Define", s.d.Define(ctx, m))
	}
	define(one)
	s.ok("Start", s.d.Start(ctx, m.UUID))
	check("after the start", one)
	define(one, two)
	check("with one more", one, two)
	define(two)
	check("with one less", two)
	s.ok("PowerOff", s.d.PowerOff(ctx, m.UUID))
	s.ok("Start", s.d.Start(ctx, m.UUID))
	check("after a restart", two)
	m.NICs[0].AntiSpoofing = false
	s.ok("Define", s.d.Define(ctx, m))
	check("without a limit")
	m.NICs[0].AntiSpoofing = true
	s.ok("Define", s.d.Define(ctx, m))
	check("with a limit again", two)
	s.ok("PowerOff", s.d.PowerOff(ctx, m.UUID))
	m.NICs[0].AntiSpoofing = false
	s.ok("Define", s.d.Define(ctx, m))
	s.ok("Start", s.d.Start(ctx, m.UUID))
	check("without a limit after a restart")
	s.ok("Remove", s.d.Remove(ctx, m.UUID))
	s.clean(m.UUID)
	s.ok("RemoveNetwork", s.d.RemoveNetwork(ctx, n.Name))
}

// repair: the bridge and the rules that another program removed are there again after the next look, and are then left
// alone.
func repair(s suite) {
	ctx, m, n := context.Background(), Machine(s.T, s.d), s.o.Network(s.T)
	s.ok("EnsureNetwork", s.d.EnsureNetwork(ctx, n))
	own := netip.MustParseAddr("192.0.2.4")
	m.NICs = []hyper.NIC{{
		MAC: net.HardwareAddr{0x52, 0x54, 0, 0, 7, 8}, Network: n.Name, AntiSpoofing: true, Addresses: []netip.Addr{own},
	}}
	s.ok("Define", s.d.Define(ctx, m))
	s.ok("Start", s.d.Start(ctx, m.UUID))
	s.o.Steal(s.T, n.Name)
	for _, want := range []hyper.Repairs{{"bridge": 1, "port": 1, "rules": 1, "guard": 1}, {}} {
		got, err := s.d.Repair(ctx)
		s.ok("Repair", err)
		if !maps.Equal(got, want) {
			s.Errorf("put back %v, want %v", got, want)
		}
		if got := s.o.Allowed(s.T, s.d, m.UUID); !slices.Equal(got, []netip.Addr{own}) {
			s.Errorf("the card may use %v", got)
		}
	}
	s.ok("Remove", s.d.Remove(ctx, m.UUID))
	s.clean(m.UUID)
	s.ok("RemoveNetwork", s.d.RemoveNetwork(ctx, n.Name))
}

// foreign: what does not carry our stack's proof is not listed and not touched.
func foreign(s suite) {
	ctx, id := context.Background(), s.o.Foreign(s.T, s.d)
	if o := s.find(id); o != nil {
		s.Errorf("listed: %+v", o)
	}
	s.is("PowerOff", s.d.PowerOff(ctx, id), hyper.ErrForeign)
	s.is("Remove", s.d.Remove(ctx, id), hyper.ErrForeign)
	s.is("Shutdown", s.d.Shutdown(ctx, id), hyper.ErrForeign)
	s.power(id, hyper.Running)
	s.is("Define", s.d.Define(ctx, hyper.Machine{UUID: id, CPUs: 1, MemoryMiB: 64}), hyper.ErrForeign)
}

// reopen: machines do not depend on the driver that made them.
func reopen(s suite) {
	ctx, on, off := context.Background(), Machine(s.T, s.d), Machine(s.T, s.d)
	s.ok("Define", s.d.Define(ctx, on))
	s.ok("Define", s.d.Define(ctx, off))
	s.ok("Start", s.d.Start(ctx, on.UUID))
	s.d = s.o.Reopen(s.T, s.d)
	s.power(on.UUID, hyper.Running)
	s.power(off.UUID, hyper.Off)
	if o := s.find(on.UUID); o == nil || o.Meta.Fence != 7 {
		s.Errorf("found %+v", o)
	}
	s.ok("Start", s.d.Start(ctx, on.UUID))
	s.ok("Remove", s.d.Remove(ctx, on.UUID))
	s.ok("Remove", s.d.Remove(ctx, off.UUID))
	s.clean(on.UUID)
	s.clean(off.UUID)
}

// traces checks that Traces returns incomplete machines as well as complete ones, and no removed ones.
func traces(s suite) {
	ctx, m := context.Background(), Machine(s.T, s.d)
	s.trace(m.UUID, hyper.Trace{UUID: m.UUID, Disks: []string{m.Disks[0].Name}, Seed: true})
	s.ok("Define", s.d.Define(ctx, m))
	s.trace(m.UUID, hyper.Trace{UUID: m.UUID, Defined: true, Disks: []string{m.Disks[0].Name}, Seed: true})
	s.ok("Start", s.d.Start(ctx, m.UUID))
	s.trace(m.UUID, hyper.Trace{UUID: m.UUID, Defined: true, Running: true, Disks: []string{m.Disks[0].Name}, Seed: true})
	s.ok("Remove", s.d.Remove(ctx, m.UUID))
	s.trace(m.UUID, hyper.Trace{})
}

func (s suite) trace(id uuid.UUID, want hyper.Trace) {
	s.Helper()
	list, err := s.d.Traces(context.Background())
	s.ok("Traces", err)
	var got hyper.Trace
	for _, t := range list {
		if t.UUID == id {
			got = t
		}
	}
	if !reflect.DeepEqual(got, want) {
		s.Errorf("trace %+v, want %+v", got, want)
	}
}
