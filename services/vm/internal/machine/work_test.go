package machine

import (
	"context"
	"errors"
	"net"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	nodepb "slipway.dev/proto/node/v1"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/jobs"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/address"
	"slipway.dev/services/vm/internal/disk"
)

// agent is a connection to the agent of a node that keeps what it is asked.
type agent struct {
	grpc.ClientConnInterface
	calls   []proto.Message
	refusal error
	answer  proto.Message // where it is of the type of the call's
}

func (a *agent) Invoke(_ context.Context, _ string, in, out any, _ ...grpc.CallOption) error {
	a.calls = append(a.calls, proto.Clone(in.(proto.Message))) //nolint:forcetypeassert // all are messages
	if to := out.(proto.Message); a.answer != nil && to.ProtoReflect().Descriptor() == a.answer.ProtoReflect().Descriptor() {
		proto.Merge(to, a.answer)
	}
	return a.refusal
}

// bench is a host, its node, and a job of the host.
type bench struct {
	*Steps
	agent
	host   *Machine
	missed error // instead of the host
	cut    error // instead of the agent
	args   Args
	job    *jobs.Run
}

// newBench returns a host with two disks that runs, has a CD in its drive, and gets and loses an address in job 7.
func newBench() *bench {
	id := uuid.MustParse("11111111-2222-4333-8444-555555555555")
	b := &bench{args: Args{ID: 3, UUID: id.String()}, job: &jobs.Run{Job: jobs.Job{ID: 7}}}
	b.host = &Machine{
		ID: 3, UUID: id, Name: "n", Hostname: "h", Domain: "d", CPUs: 2, RAM: 512, MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, PasswordHash: "p",
		Disks: []disk.Disk{{ID: 5, Name: "a", SizeMiB: 10, Template: "t"}, {ID: 6, Name: "b", SizeMiB: 20, Bus: "sata"}},
		Addresses: []address.Address{
			{Addr: "10.0.0.5", Family: 4, Prefix: 24, Gateway: "10.0.0.1", State: address.Active},
			{Addr: "8.8.0.5", Family: 4, Prefix: 24, Gateway: "8.8.0.1", State: address.Adding, Job: 7},
			{Addr: "2001:db8::5", Family: 6, Prefix: 64, Gateway: "2001:db8::1", State: address.Active},
			{Addr: "10.0.1.5", Family: 4, Prefix: 24, Gateway: "10.0.1.1", State: address.Removing, Job: 7},
		},
		Node: uuid.New(), Endpoint: "e", Bridge: "br", DNS: []string{"9.9.9.9"}, Wanted: true, CD: "cd-1",
	}
	b.Steps = New(func(context.Context, int32) (*Machine, error) {
		m := *b.host
		return &m, b.missed
	}, func(uuid.UUID, string) (nodepb.NodeServiceClient, error) {
		return nodepb.NewNodeServiceClient(&b.agent), b.cut
	})
	return b
}

// each are the steps of jobs, by name.
func (b *bench) each() map[string]do {
	s := b.Steps
	return map[string]do{
		"network": s.EnsureNetwork, "disks": s.EnsureDisks, "seed": s.EnsureSeed, "define": s.Define, "start": s.Start, "boot": s.Boot,
		"boot wanted": s.BootWanted, "stop": s.Stop, "remove": s.Remove, "password": s.SetPassword, "guest": s.AskGuest,
		"remove cd": s.RemoveCD, "remove rescue": s.RemoveRescue, "fresh": s.MakeFresh, "unmake": s.Unmake,
		"restore seed": s.RestoreSeed, "restore definition": s.RestoreDefinition, "restore machine": s.RestoreMachine,
		"halt": s.Halt, "resume": s.Resume,
		"grow": func(ctx context.Context, run *jobs.Run, a Args) error { return s.GrowDisk(ctx, run, a, 5, 11) },
		"cd":   func(ctx context.Context, run *jobs.Run, a Args) error { return s.FetchCD(ctx, run, a, "c", "u", "") },
		"move": func(ctx context.Context, run *jobs.Run, a Args) error {
			return s.MoveDisk(ctx, run, a, Move{From: "f"})
		},
		"adapt": func(ctx context.Context, run *jobs.Run, a Args) error {
			_, err := s.Adapt(ctx, run, a, Adaption{Change: func(l Limits) Limits { return l }})
			return err
		},
		"exchange": func(ctx context.Context, run *jobs.Run, a Args) error {
			_, err := s.Exchange(ctx, run, a)
			return err
		},
		"unused": func(ctx context.Context, run *jobs.Run, a Args) error { return s.RemoveUnused(ctx, run, a, "x") },
		"remove disk": func(ctx context.Context, run *jobs.Run, a Args) error {
			return s.RemoveDisk(ctx, run, a, "x")
		},
	}
}

// TestStepsReportErrors: whatever goes wrong, with the database, the way to the agent or in the agent, a step says so, once it
// asked the agent for one thing.
func TestStepsReportErrors(t *testing.T) {
	t.Parallel()
	wrong := errors.New("wrong")
	for name := range newBench().each() {
		for what, spoil := range map[string]func(*bench){
			"the database": func(b *bench) { b.missed = wrong },
			"the way":      func(b *bench) { b.cut = wrong },
			"the agent":    func(b *bench) { b.refusal = wrong },
			"nothing":      func(*bench) {},
		} {
			b := newBench()
			b.host.Fresh = "b"
			spoil(b)
			err := b.each()[name](t.Context(), b.job, b.args)
			if errors.Is(err, wrong) != (what != "nothing") || what == "nothing" && err != nil {
				t.Errorf("%s, %s fails: %v", name, what, err)
			}
			want := map[string]int{"the agent": 1, "nothing": 1}[what]
			if name == "disks" && what == "nothing" {
				want = 2
			}
			if len(b.calls) != want {
				t.Errorf("%s, %s fails: asked for %v", name, what, b.calls)
			}
		}
	}
}

// TestNothingToRemove: without a row of the host there is nothing to remove, and nothing else to do for it.
func TestNothingToRemove(t *testing.T) {
	t.Parallel()
	for name := range newBench().each() {
		b := newBench()
		b.missed = fault.NotFound.With("no host")
		err := b.each()[name](t.Context(), b.job, b.args)
		quiet := name == "remove" || name == "unmake" || name == "remove disk" || name == "unused"
		if errors.Is(err, fault.NotFound) == quiet || len(b.calls) > 0 {
			t.Errorf("%s: %v, asked for %v", name, err, b.calls)
		}
	}
}

// TestNothingToRestore: an undo of a machine that is gone succeeds. The steps themselves do not.
func TestNothingToRestore(t *testing.T) {
	t.Parallel()
	undo := map[string]bool{"restore seed": true, "restore definition": true, "restore machine": true, "halt": true, "resume": true}
	for _, reason := range lost {
		for name := range newBench().each() {
			b := newBench()
			b.host.Fresh = "b"
			b.refusal = fault.New(9, reason, "")
			if err := b.each()[name](t.Context(), b.job, b.args); (err == nil) != undo[name] {
				t.Errorf("%s, %s: %v", name, reason, err)
			}
		}
	}
}

// TestDiskInUse: what the machine uses stays, where a job brought it; elsewhere that is an error.
func TestDiskInUse(t *testing.T) {
	t.Parallel()
	b := newBench()
	b.host.Fresh, b.refusal = "b", fault.New(9, "DISK_IN_USE", "")
	for name, quiet := range map[string]bool{"unused": true, "unmake": true, "remove disk": false, "remove cd": false} {
		if err := b.each()[name](t.Context(), b.job, b.args); (err == nil) != quiet {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestWhatTheAgentGets: a step asks for the machine as it is after the job, an undo for the one before.
func TestWhatTheAgentGets(t *testing.T) {
	t.Parallel()
	const id = "11111111-2222-4333-8444-555555555555"
	c := &nodepb.Command{Machine: id}
	side := &nodepb.NodeSide{Addresses: []string{"10.0.0.1/24", "8.8.0.1/24", "2001:db8::1/64"}, Nat: []string{"10.0.0.0/24", "2001:db8::/64"}}
	was := &nodepb.NodeSide{Addresses: []string{"10.0.0.1/24", "2001:db8::1/64", "10.0.1.1/24"}, Nat: []string{"10.0.0.0/24", "2001:db8::/64", "10.0.1.0/24"}}
	link := func(s *nodepb.NodeSide, addresses ...string) []*nodepb.Link {
		return []*nodepb.Link{{
			Mac: "02:00:00:00:00:01", Network: "br", Addresses: addresses, Gateways: []string{"10.0.0.1", "2001:db8::1"}, NodeSide: s,
		}}
	}
	after, before := link(side, "10.0.0.5/24", "8.8.0.5/24", "2001:db8::5/64"), link(was, "10.0.0.5/24", "2001:db8::5/64", "10.0.1.5/24")
	seed := func(l []*nodepb.Link) *nodepb.EnsureSeedRequest {
		return &nodepb.EnsureSeedRequest{Command: c, Hostname: "h", Fqdn: "d", PasswordHash: "p", Links: l, Dns: []string{"9.9.9.9"}}
	}
	define := func(l []*nodepb.Link) *nodepb.DefineMachineRequest {
		return &nodepb.DefineMachineRequest{
			Command: c, Title: "n", CpuNumber: 2, RamMib: 512, HostId: 3, Cd: "cd-1", Links: l, Cpu: &nodepb.CPULimits{}, DiskLimits: &nodepb.DiskLimits{},
			Disks: []*nodepb.Disk{{Name: "a", SizeMib: 10, Template: "t"}, {Name: "b", SizeMib: 20, Bus: "sata"}},
		}
	}
	for name, want := range map[string]proto.Message{
		"network":            &nodepb.EnsureNetworkRequest{Name: "br", Addresses: side.GetAddresses(), Nat: side.GetNat(), Guests: []string{"10.0.0.5", "8.8.0.5", "2001:db8::5"}},
		"seed":               seed(after),
		"restore seed":       seed(before),
		"define":             define(after),
		"restore definition": define(before),
		"start":              &nodepb.StartMachineRequest{Command: c},
		"stop":               &nodepb.StopMachineRequest{Command: c, GraceSeconds: 60},
		"halt":               &nodepb.StopMachineRequest{Command: c, GraceSeconds: 60, Force: true},
		"remove":             &nodepb.RemoveMachineRequest{Command: c},
		"remove cd":          &nodepb.RemoveDiskRequest{Command: c, Name: "cd-1"},
		"remove rescue":      &nodepb.RemoveDiskRequest{Command: c, Name: "a"},
		"unmake":             &nodepb.RemoveDiskRequest{Command: c, Name: "b"},
		"fresh":              &nodepb.EnsureDiskRequest{Command: c, Disk: &nodepb.Disk{Name: "b", SizeMib: 20, Bus: "sata"}},
		"grow":               &nodepb.EnsureDiskRequest{Command: c, Disk: &nodepb.Disk{Name: "a", SizeMib: 11, Template: "t"}},
		"cd":                 &nodepb.FetchCDRequest{Command: c, Name: "c", Url: "u"},
		"move":               &nodepb.MoveDiskRequest{Command: &nodepb.Command{Machine: "f"}},
		"password":           &nodepb.SetGuestPasswordRequest{Command: c, PasswordHash: "p"},
		"guest":              &nodepb.AskGuestRequest{Machine: id},
	} {
		b := newBench()
		b.host.Fresh = "b"
		if err := b.each()[name](t.Context(), b.job, b.args); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if d := cmp.Diff([]proto.Message{want}, b.calls, protocmp.Transform()); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

// TestLimitsReachTheNode: a definition has the limits of the machine, of its card the smaller one where there are two.
func TestLimitsReachTheNode(t *testing.T) {
	t.Parallel()
	b := newBench()
	b.host.AntiSpoofing = true
	b.host.Limits = Limits{
		CPUMode: "custom", CPUModel: "m", Nesting: true, HotPlug: true, CPUWeight: 1, IOWeight: 2, IOReadMbit: 3, IOWriteMbit: 4, IOReadIOPS: 5,
		IOWriteIOPS: 6, NetMbit: 7, NetInMbit: 8, NetOutMbit: 6,
		Firewall: []Rule{{Action: drop, Direction: inward, Protocols: []string{tcp}, PortStart: 1, PortEnd: 2}, {Action: accept, Direction: outward}},
	}
	got := definition(nil, &plan{Machine: b.host})
	want := &nodepb.DefineMachineRequest{
		Title: "n", CpuNumber: 2, RamMib: 512, HostId: 3, Cd: "cd-1", Growth: true,
		Cpu:        &nodepb.CPULimits{Mode: "custom", Model: "m", Nesting: true, Weight: 1},
		DiskLimits: &nodepb.DiskLimits{ReadMbitps: 3, WriteMbitps: 4, ReadIops: 5, WriteIops: 6, Weight: 2},
		Disks:      []*nodepb.Disk{{Name: "a", SizeMib: 10, Template: "t"}, {Name: "b", SizeMib: 20, Bus: "sata"}},
		Links: []*nodepb.Link{{
			Mac: "02:00:00:00:00:01", Network: "br", AntiSpoofing: true, NodeSide: &nodepb.NodeSide{}, InMbitps: 7, OutMbitps: 6,
			Firewall: []*nodepb.FirewallRule{{Drop: true, Protocols: []string{"tcp"}, PortStart: 1, PortEnd: 2}, {Out: true}},
		}},
	}
	if d := cmp.Diff(want, got, protocmp.Transform()); d != "" {
		t.Error(d)
	}
}

// TestReadWithoutDatabase: a host that could not be read is an error, and no host without anything.
func TestReadWithoutDatabase(t *testing.T) {
	t.Parallel()
	db, err := pgxpool.New(t.Context(), "postgres://127.0.0.1:1/none")
	if err != nil {
		t.Fatal(err)
	}
	db.Close()
	if m, err := Read(&unit.DB{Pool: db})(t.Context(), 3); err == nil || errors.Is(err, fault.NotFound) {
		t.Errorf("%+v %v", m, err)
	}
}

// TestDiskThatIsGone: a disk that the host has no more is not enlarged; the first one is a disk like any other.
func TestDiskThatIsGone(t *testing.T) {
	t.Parallel()
	b := newBench()
	for id, want := range map[int32]error{5: nil, 6: nil, 8: fault.NotFound} {
		if err := b.GrowDisk(t.Context(), b.job, b.args, id, 30); !errors.Is(err, want) {
			t.Errorf("disk %d: %v", id, err)
		}
	}
}

// TestOffStaysOff: a host that is not to run is neither started nor started again.
func TestOffStaysOff(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"boot wanted", "resume"} {
		b := newBench()
		b.host.Wanted = false
		if err := b.each()[name](t.Context(), b.job, b.args); err != nil || len(b.calls) > 0 {
			t.Errorf("%s: %v, asked for %v", name, err, b.calls)
		}
	}
}

// TestBooted: with what a machine was started is known to the attempt that started it, unless it ran before.
func TestBooted(t *testing.T) {
	t.Parallel()
	for _, ran := range []bool{false, true} {
		b := newBench()
		b.Steps = b.Booting()
		cpus, anti := int32(4), true
		b.host.NewCPUs, b.host.Limited = &cpus, anti
		b.answer = &nodepb.StartMachineResponse{Running: ran}
		if got, started := b.Booted(b.job); !started || got.Addresses != nil {
			t.Errorf("before the start: %+v %v", got, started)
		}
		if err := b.Boot(t.Context(), b.job, b.args); err != nil {
			t.Fatal(err)
		}
		got, started := b.Booted(b.job)
		if started == ran || len(got.Addresses) != 3 || got.Size != (Size{4, 512}) || got.AntiSpoofing == nil || !*got.AntiSpoofing {
			t.Errorf("ran %v: %+v %v", ran, got, started)
		}
	}
}

// TestAnswered: only an agent in the guest that did what was asked has answered. That it is silent is no error of a password, which
// the seed has too.
func TestAnswered(t *testing.T) {
	t.Parallel()
	silent := fault.New(9, "GUEST_AGENT_SILENT", "")
	for _, tt := range []struct {
		step          string
		refusal, want error
	}{
		{"password", nil, nil},
		{"guest", nil, nil},
		{"password", silent, nil},
		{"guest", silent, silent},
		{"password", fault.Unavailable, fault.Unavailable},
	} {
		b := newBench()
		if b.Answered(b.job) {
			t.Error("answered before it was asked")
		}
		b.refusal = tt.refusal
		err := b.each()[tt.step](t.Context(), b.job, b.args)
		if !errors.Is(err, tt.want) || b.Answered(b.job) != (tt.refusal == nil) {
			t.Errorf("%s, %v: %v, answered %v", tt.step, tt.refusal, err, b.Answered(b.job))
		}
	}
}

// TestArguments: a job without a host is refused.
func TestArguments(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		a    Args
		good bool
	}{
		{Args{ID: 1, UUID: "11111111-2222-4333-8444-555555555555"}, true},
		{Args{ID: 0, UUID: "11111111-2222-4333-8444-555555555555"}, false},
		{Args{ID: -1, UUID: "11111111-2222-4333-8444-555555555555"}, false},
		{Args{ID: 1, UUID: uuid.Nil.String()}, false},
		{Args{ID: 1, UUID: "x"}, false},
	} {
		if err := tt.a.Check(); (err == nil) != tt.good {
			t.Errorf("%+v: %v", tt.a, err)
		}
	}
}
