// Package hypertest is the one suite that every hyper.Driver passes.
package hypertest

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"slipway.dev/services/node/internal/hyper"
)

// Options say which features of a driver can be tested. A nil feature is not tested.
type Options struct {
	StackID string
	// Growth says that a running machine can get more CPUs and memory.
	Growth bool
	// Plugs says that a running machine can get a disk.
	Plugs bool
	// Network is a bridge that the suite may create and remove.
	Network func(t *testing.T) hyper.Network
	// Template is the SHA-256 of an installed template, TemplateMiB its virtual size.
	Template    string
	TemplateMiB int64
	// Crash makes a running machine crash.
	Crash func(t *testing.T, d hyper.Driver, id uuid.UUID)
	// Lose deletes the file of a machine's disk behind the driver's back.
	Lose func(t *testing.T, d hyper.Driver, id uuid.UUID, disk string)
	// Foreign defines, in the same hypervisor, a running machine of another stack.
	Foreign func(t *testing.T, d hyper.Driver) uuid.UUID
	// Reopen closes the driver and opens another on the same root.
	Reopen func(t *testing.T, d hyper.Driver) hyper.Driver
	// Allowed lists the addresses that the rules of a running machine's card let it use at this moment.
	Allowed func(t *testing.T, d hyper.Driver, id uuid.UUID) []netip.Addr
	// Limits says how the card of a running machine is limited at this moment.
	Limits func(t *testing.T, d hyper.Driver, id uuid.UUID) Limited
	// Bridge lists the addresses that a bridge has at this moment.
	Bridge func(t *testing.T, d hyper.Driver, name string) []netip.Prefix
	// Steal removes the rules of the networks and of the running machines' cards, and a bridge, as another program may.
	Steal func(t *testing.T, bridge string)
	// Dir is a directory on the file system of the machines.
	Dir func(t *testing.T) string
	// Boots says that machines execute what they start from.
	Boots bool
	// Unsampled is true for a hypervisor that counts nothing, such as libvirt's test driver.
	Unsampled bool
	// Mute makes the agent in a machine's guest silent. Without it no guest has an agent.
	Mute func(t *testing.T, d hyper.Driver, id uuid.UUID)
	// Consoles says that running machines have consoles.
	Consoles bool
	// Login returns the hash of root's password in a running guest, which has an agent.
	Login func(t *testing.T, d hyper.Driver, id uuid.UUID) string
	// Traces lists the remains of a machine apart from the driver's answers: files, taps, rules.
	Traces func(t *testing.T, id uuid.UUID) []string
}

// suite is the state of one subtest.
type suite struct {
	*testing.T
	d hyper.Driver
	o Options
}

// Run runs the suite. Each subtest calls open, which may return a shared driver.
func Run(t *testing.T, open func(t *testing.T) hyper.Driver, o Options) {
	t.Helper()
	for _, tt := range []struct {
		name string
		run  func(suite)
		want bool
	}{
		{"Facts", facts, true},
		{"Life", life, true},
		{"Twice", twice, true},
		{"Unknown", unknown, true},
		{"Refuses", refuses, true},
		{"Disks", disks, true},
		{"RemoveDisk", removeDisk, true},
		{"MoveDisk", moveDisk, true},
		{"Exchange", exchange, true},
		{"CD", cd, o.Dir != nil},
		{"Silent", silent, true},
		{"Guest", guest, o.Login != nil},
		{"NoConsole", noConsole, true},
		{"Consoles", consoles, o.Consoles},
		{"Redefine", redefine, true},
		{"Adapt", adapt, true},
		{"Cancelled", cancelled, true},
		{"Usage", usage, !o.Unsampled},
		{"Traces", traces, true},
		{"Parallel", parallel, true},
		{"Template", templates, o.Template != ""},
		{"Network", network, o.Network != nil},
		{"Addresses", addresses, o.Network != nil && o.Allowed != nil},
		{"Limits", limits, o.Network != nil && o.Limits != nil},
		{"Bridge", bridge, o.Network != nil && o.Bridge != nil},
		{"Repair", repair, o.Network != nil && o.Steal != nil && o.Allowed != nil},
		{"Crash", crash, o.Crash != nil},
		{"Loss", loss, o.Lose != nil},
		{"Foreign", foreign, o.Foreign != nil},
		{"Reopen", reopen, o.Reopen != nil},
	} {
		if tt.want {
			t.Run(tt.name, func(t *testing.T) { tt.run(suite{t, open(t), o}) })
		}
	}
}

var nextHost = struct {
	sync.Mutex
	n int32
}{n: 1000}

// Machine returns a small machine, after it has made the machine's empty disk and seed.
func Machine(t *testing.T, d hyper.Driver) hyper.Machine {
	t.Helper()
	nextHost.Lock()
	nextHost.n++
	host := nextHost.n
	nextHost.Unlock()
	m := hyper.Machine{
		UUID: uuid.New(), Name: "suite & <friends>", CPUs: 1, MemoryMiB: 64, Seed: true,
		Disks: []hyper.Disk{{Name: "root", SizeMiB: 8}},
		Meta:  hyper.Meta{HostID: host, Fence: 7},
	}
	ctx := context.Background()
	t.Cleanup(func() {
		if err := d.Remove(ctx, m.UUID); err != nil && !errors.Is(err, hyper.ErrUnavailable) {
			t.Errorf("clean up: %v", err)
		}
	})
	if err := d.EnsureDisk(ctx, m.UUID, m.Disks[0]); err != nil {
		t.Fatalf("EnsureDisk: %v", err)
	}
	if err := d.EnsureSeed(ctx, m.UUID, Seed()); err != nil {
		t.Fatalf("EnsureSeed: %v", err)
	}
	return m
}

// Seed returns a small seed.
func Seed() hyper.Seed {
	return hyper.Seed{
		InstanceID: "i-1", Hostname: "suite",
		Links: []hyper.Link{{
			MAC:       net.HardwareAddr{0x52, 0x54, 0, 0, 0, 1},
			Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.9/24"), netip.MustParsePrefix("2001:db8::9/64")},
		}},
	}
}

// seedAddresses are the addresses in Seed.
func seedAddresses() (list []netip.Addr) {
	for _, p := range Seed().Links[0].Addresses {
		list = append(list, p.Addr())
	}
	return list
}

func (s suite) ok(what string, err error) {
	s.Helper()
	if err != nil {
		s.Fatalf("%s: %v", what, err)
	}
}

func (s suite) is(what string, err, want error) {
	s.Helper()
	if !errors.Is(err, want) {
		s.Errorf("%s: %v, want %v", what, err, want)
	}
}

func (s suite) power(id uuid.UUID, want hyper.Power) {
	s.Helper()
	got, err := s.d.State(context.Background(), id)
	s.ok("State", err)
	if got.Power != want {
		s.Errorf("state %s (%s), want %s", got.Power, got.Reason, want)
	}
}

// waitState waits until the machine is in this state.
func (s suite) waitState(id uuid.UUID, want hyper.Power) {
	s.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		got, err := s.d.State(context.Background(), id)
		s.ok("State", err)
		if got.Power == want {
			return
		}
		if time.Now().After(deadline) {
			s.Fatalf("state stays %s (%s), want %s", got.Power, got.Reason, want)
		}
		time.Sleep(10 * time.Millisecond) // between two looks
	}
}

func (s suite) find(id uuid.UUID) *hyper.Observed {
	s.Helper()
	list, err := s.d.List(context.Background())
	s.ok("List", err)
	i := slices.IndexFunc(list, func(o hyper.Observed) bool { return o.UUID == id })
	if i < 0 {
		return nil
	}
	return &list[i]
}

func (s suite) clean(id uuid.UUID) {
	s.Helper()
	s.power(id, hyper.Absent)
	if s.find(id) != nil {
		s.Error("removed, and still listed")
	}
	if b, err := s.d.Console(context.Background(), id, 1<<20); err != nil || len(b) > 0 {
		s.Errorf("removed, and the console says %q, %v", b, err)
	}
	if left, err := s.d.Orphans(context.Background()); err != nil || len(left) > 0 {
		s.Errorf("removed, and cards without a machine have rules: %v, %v", left, err)
	}
	if s.o.Traces != nil {
		if left := s.o.Traces(s.T, id); len(left) > 0 {
			s.Errorf("removed, and left behind %v", left)
		}
	}
}
