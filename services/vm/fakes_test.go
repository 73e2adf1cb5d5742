package vm_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	authpb "slipway.dev/proto/auth/v4"
	ippb "slipway.dev/proto/ip/v3"
	nodepb "slipway.dev/proto/node/v1"

	"slipway.dev/pkg/fault"
	"slipway.dev/services/vm/internal/address"
)

type fakeUsers struct {
	authpb.UnimplementedUserServiceServer
}

func (*fakeUsers) GetUser(_ context.Context, r *authpb.GetUserRequest) (*authpb.User, error) {
	if r.GetId() != 11 {
		return nil, fault.NotFound
	}
	return &authpb.User{Id: 11, Email: "eleven@example.com", State: "active"}, nil
}

func (*fakeUsers) ListSSHKeysOf(context.Context, *authpb.ListSSHKeysOfRequest) (*authpb.ListSSHKeysResponse, error) {
	return &authpb.ListSSHKeysResponse{List: []*authpb.SSHKey{{SshPubKey: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOt6W6cNdd8jz7uybrGrIlhQ46xn0Q5nTRmkxY5T9AIU Ivan\u00a0Petrov"}}}, nil
}

var errNoAddress = fault.New(codes.ResourceExhausted, "NO_FREE_ADDRESS", "no free address")

// fakeIP counts addresses. What is held is held under a key, which is the owner's own for its first addresses.
type fakeIP struct {
	ippb.UnimplementedAddressServiceServer
	mu        sync.Mutex
	free      int
	next      int
	held      map[string]int
	claims    map[int32]claim
	confirmed map[string]bool
	names     map[int32]string
	dns       []string
	fail      map[string]error // by name of the call
	reserved  func()           // after each Reserve, before its answer
	reserves  int
	asked     []*ippb.ReserveRequest
	released  []*ippb.ReleaseRequest
}

// claim is an address that has an owner.
type claim struct{ owner, key string }

func (f *fakeIP) Reserve(_ context.Context, r *ippb.ReserveRequest) (*ippb.ReserveResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if after := f.reserved; after != nil {
		defer func() { f.mu.Unlock(); after(); f.mu.Lock() }()
	}
	f.reserves++
	f.asked = append(f.asked, r)
	if err := f.fail["Reserve"]; err != nil {
		return nil, err
	}
	v4, v6 := address.Claim{ReserveRequest: r}.Asked()
	v4, v6 = v4+r.GetAnyCount(), v6-r.GetAnyCount()
	n := v4 + v6
	if slices.Contains(r.GetPoolIds(), 99) {
		return nil, fault.Invalid.With("there is no pool 99").On("pool_ids")
	}
	if f.free < int(n) {
		return nil, errNoAddress
	}
	key := r.GetKey()
	if key == "" {
		key = r.GetOwner()
	}
	resp := &ippb.ReserveResponse{}
	for i := range n {
		f.free--
		f.next++
		a := &ippb.Address{
			Id: int32(f.next), IpAddr: fmt.Sprintf("10.1.%d.%d", f.next/250, f.next%250+2), Family: 4, PrefixLength: 16,
			Mask: "255.255.0.0", Gateway: "10.1.0.1", Ippool: 1, Ipnet: 1, Generation: 1, DnsServers: f.dns,
		}
		switch {
		case i >= v4:
			a.IpAddr, a.Family, a.PrefixLength, a.Gateway = fmt.Sprintf("fd00::%x", f.next), 6, 64, "fd00::1"
			if slices.Contains(r.GetPoolIds(), 2) { // the only one that has IPv6 addresses, besides those of the cluster
				a.Ippool = 2
			}
		}
		if wish, err := netip.ParseAddr(r.GetWish()); err == nil && (i == 0 && wish.Is4() || i == v4 && wish.Is6()) {
			a.IpAddr = r.GetWish()
		}
		resp.Addresses = append(resp.Addresses, a)
		f.claims[a.GetId()] = claim{r.GetOwner(), key}
	}
	f.held[r.GetOwner()] += int(n)
	return resp, nil
}

func (f *fakeIP) Confirm(_ context.Context, r *ippb.ConfirmRequest) (*ippb.ConfirmResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.fail["Confirm"]; err != nil {
		return nil, err
	}
	if r.GetKey() == "" {
		return nil, fault.Invalid.With("this would confirm what is not the job's own")
	}
	f.confirmed[r.GetOwner()], f.confirmed[r.GetKey()] = true, true
	return &ippb.ConfirmResponse{}, nil
}

func (f *fakeIP) Release(_ context.Context, r *ippb.ReleaseRequest) (*ippb.ReleaseResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.released = append(f.released, r)
	n := 0
	for id, c := range f.claims {
		named := len(r.GetAddresses()) == 0 || slices.ContainsFunc(r.GetAddresses(), func(h *ippb.HeldAddress) bool {
			return h.GetId() == id && h.GetGeneration() == 1
		})
		if c.owner == r.GetOwner() && named && (r.GetKey() == "" || c.key == r.GetKey()) {
			delete(f.claims, id)
			n++
		}
	}
	f.free += n
	if f.held[r.GetOwner()] -= n; f.held[r.GetOwner()] == 0 {
		delete(f.held, r.GetOwner())
	}
	return &ippb.ReleaseResponse{Released: int32(n)}, nil
}

func (f *fakeIP) SetPTR(_ context.Context, r *ippb.SetPTRRequest) (*ippb.SetPTRResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.fail["SetPTR"]; err != nil {
		return nil, err
	}
	f.names[r.GetId()] = r.GetDomain()
	return &ippb.SetPTRResponse{Domain: r.GetDomain(), PtrSerial: int32(len(f.names)) + 10, PtrState: "waiting"}, nil
}

// has counts the addresses of an owner.
func (f *fakeIP) has(owner string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.held[owner]
}

// fakeLedger keeps which addresses were seen on machines.
type fakeLedger struct {
	ippb.UnimplementedLedgerServiceServer
	mu      sync.Mutex
	open    []*ippb.History
	settled int
	seen    []*ippb.SeenAddress
}

func (f *fakeLedger) ListOpenHistories(context.Context, *ippb.ListOpenHistoriesRequest) (*ippb.ListOpenHistoriesResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return &ippb.ListOpenHistoriesResponse{Histories: f.open}, nil
}

func (f *fakeLedger) SettleHistories(_ context.Context, r *ippb.SettleHistoriesRequest) (*ippb.SettleHistoriesResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.settled++
	f.open, f.seen = nil, r.GetSeen()
	return &ippb.SettleHistoriesResponse{}, nil
}

// fakePools keeps the last binding.
type fakePools struct {
	ippb.UnimplementedPoolServiceServer
	last *ippb.SetPoolClustersRequest
}

func (p *fakePools) SetPoolClusters(_ context.Context, r *ippb.SetPoolClustersRequest) (*ippb.SetPoolClustersResponse, error) {
	p.last = r
	return &ippb.SetPoolClustersResponse{}, nil
}

type fakeMachine struct {
	fence    int64
	disks    int
	template string            // that the first disk begins as
	files    map[string]string // disks, with what they begin as
	sizes    map[string]int32  // of the disks, in MiB
	has      []string          // disks of the definition
	login    string            // root's password in the guest, as the guest agent has set it
	seed     *nodepb.EnsureSeedRequest
	defined  bool
	guarded  bool     // anti-spoofing
	allowed  []string // addresses of the card
	state    nodepb.MachineState
	says     says                         // metadata, from the last definition
	def      *nodepb.DefineMachineRequest // the last one
	runs     *nodepb.DefineMachineRequest // with which it was started, and what it was given since
}

// says is what a machine says of itself.
type says struct {
	stack, node string
	host        int32
	fence       int64
}

// fakeAgent keeps machines in memory and fails on demand, by name of the call.
type fakeAgent struct {
	broken chan struct{} // closed when an upload breaks off; nil for none
	nodepb.UnimplementedNodeServiceServer
	mu       sync.Mutex
	machines map[string]*fakeMachine
	networks []*nodepb.EnsureNetworkRequest
	fail     map[string]error
	calls    map[string]int
	gone     map[string]*fakeMachine // what was removed, to be brought back
	reaped   int                     // machines removed without a request
	listed   int
	timeline int64                              // the highest that it has heard of
	list     func(*nodepb.ListMachinesResponse) // spoils the list

	refuseOnce map[string]error
	refuseNext map[string]error // once, after a call was refused
	held       map[string]bool  // disks that guests do not release
	later      bool             // disks come at the next start of a machine
	hold       chan struct{}    // EnsureDisk waits until it is closed
	reached    chan struct{}    // closed by the first EnsureDisk that waits
}

// on runs f on the machine of c unless the call is to fail.
func (f *fakeAgent) on(call string, c *nodepb.Command, fn func(*fakeMachine)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls[call]++
	if err := f.fail[call]; err != nil {
		return err
	}
	if err := f.refuseOnce[call]; err != nil {
		delete(f.refuseOnce, call)
		maps.Copy(f.refuseOnce, f.refuseNext)
		f.refuseNext = nil
		return err
	}
	m := f.machines[c.GetMachine()]
	if m == nil {
		m = &fakeMachine{state: nodepb.MachineState_MACHINE_STATE_OFF}
		f.machines[c.GetMachine()] = m
	}
	if c.GetFence() < m.fence {
		return fault.New(codes.FailedPrecondition, "STALE_COMMAND", "overtaken")
	}
	m.fence = c.GetFence()
	fn(m)
	return nil
}

func (f *fakeAgent) failOn(call string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail[call] = err
}

// tried counts the calls.
func (f *fakeAgent) tried(call string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[call]
}

func (f *fakeAgent) machine(uuid string) fakeMachine {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m := f.machines[uuid]; m != nil {
		c := *m
		c.files = maps.Clone(m.files)
		return c
	}
	return fakeMachine{}
}

func (f *fakeAgent) EnsureNetwork(_ context.Context, r *nodepb.EnsureNetworkRequest) (*nodepb.EnsureNetworkResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.networks = append(f.networks, r)
	return &nodepb.EnsureNetworkResponse{}, f.fail["EnsureNetwork"]
}

func (f *fakeAgent) EnsureDisk(ctx context.Context, r *nodepb.EnsureDiskRequest) (*nodepb.EnsureDiskResponse, error) {
	f.mu.Lock()
	hold, reached := f.hold, f.reached
	f.reached = nil
	f.mu.Unlock()
	if hold != nil {
		if reached != nil {
			close(reached)
		}
		select {
		case <-hold:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return &nodepb.EnsureDiskResponse{}, f.on("EnsureDisk", r.GetCommand(), func(m *fakeMachine) {
		m.disks++
		if m.files == nil {
			m.files, m.sizes = map[string]string{}, map[string]int32{}
		}
		m.sizes[r.GetDisk().GetName()] = r.GetDisk().GetSizeMib()
		m.files[r.GetDisk().GetName()] = r.GetDisk().GetTemplate()
		if r.GetDisk().GetName() == "disk0" {
			m.template = r.GetDisk().GetTemplate()
		}
	})
}

// FetchCD takes the image as it is, for an account.
func (f *fakeAgent) FetchCD(_ context.Context, r *nodepb.FetchCDRequest) (*nodepb.FetchCDResponse, error) {
	if r.GetAccount() == 0 {
		return nil, fault.Invalid.With("whose download is it?").On("account")
	}
	return &nodepb.FetchCDResponse{}, f.on("FetchCD", r.GetCommand(), func(m *fakeMachine) {
		if m.files == nil {
			m.files, m.sizes = map[string]string{}, map[string]int32{}
		}
		m.files[r.GetName()] = r.GetUrl() + r.GetUpload()
	})
}

// MoveDisk moves a disk between machines, and forgets a machine of which nothing is left.
func (f *fakeAgent) MoveDisk(_ context.Context, r *nodepb.MoveDiskRequest) (*nodepb.MoveDiskResponse, error) {
	var err error
	failed := f.on("MoveDisk", r.GetCommand(), func(m *fakeMachine) {
		to := f.machines[r.GetTo()]
		if to == nil {
			to = &fakeMachine{state: nodepb.MachineState_MACHINE_STATE_OFF}
			f.machines[r.GetTo()] = to
		}
		if to.files == nil {
			to.files, to.sizes = map[string]string{}, map[string]int32{}
		}
		_, there := m.files[r.GetName()]
		_, moved := to.files[r.GetNewName()]
		switch {
		case slices.Contains(m.has, r.GetName()):
			err = fault.New(codes.FailedPrecondition, "DISK_IN_USE", "the machine uses the disk")
		case there == moved:
			err = fault.New(codes.FailedPrecondition, "DISK_NOT_READY", "there is no such disk, or there are two")
		case there:
			to.files[r.GetNewName()], to.sizes[r.GetNewName()] = m.files[r.GetName()], m.sizes[r.GetName()]
			delete(m.files, r.GetName())
			delete(m.sizes, r.GetName())
		}
		for id, m := range map[string]*fakeMachine{r.GetCommand().GetMachine(): m, r.GetTo(): to} {
			if !m.defined && len(m.files) == 0 {
				delete(f.machines, id)
			}
		}
	})
	return &nodepb.MoveDiskResponse{}, errors.Join(failed, err)
}

func (f *fakeAgent) RemoveDisk(_ context.Context, r *nodepb.RemoveDiskRequest) (*nodepb.RemoveDiskResponse, error) {
	var err error
	failed := f.on("RemoveDisk", r.GetCommand(), func(m *fakeMachine) {
		if slices.Contains(m.has, r.GetName()) || m.def.GetCd() == r.GetName() {
			err = fault.New(codes.FailedPrecondition, "DISK_IN_USE", "the machine uses the disk")
			return
		}
		delete(m.files, r.GetName())
	})
	return &nodepb.RemoveDiskResponse{}, errors.Join(failed, err)
}

// errSilent is the refusal of an agent whose guest has none.
var errSilent = fault.New(codes.FailedPrecondition, "GUEST_AGENT_SILENT", "the guest agent does not answer")

func (f *fakeAgent) SetGuestPassword(_ context.Context, r *nodepb.SetGuestPasswordRequest) (*nodepb.SetGuestPasswordResponse, error) {
	var err error
	failed := f.on("SetGuestPassword", r.GetCommand(), func(m *fakeMachine) {
		if m.state != nodepb.MachineState_MACHINE_STATE_RUNNING {
			err = errSilent
			return
		}
		m.login = r.GetPasswordHash()
	})
	return &nodepb.SetGuestPasswordResponse{}, errors.Join(failed, err)
}

func (f *fakeAgent) AskGuest(_ context.Context, r *nodepb.AskGuestRequest) (*nodepb.AskGuestResponse, error) {
	if !f.running(r.GetMachine()) {
		return nil, errSilent
	}
	return &nodepb.AskGuestResponse{}, nil
}

// define keeps the disks of a definition.
func (m *fakeMachine) define(r *nodepb.DefineMachineRequest) {
	m.has = nil
	for _, d := range r.GetDisks() {
		m.has = append(m.has, d.GetName())
	}
}

func (f *fakeAgent) EnsureSeed(_ context.Context, r *nodepb.EnsureSeedRequest) (*nodepb.EnsureSeedResponse, error) {
	return &nodepb.EnsureSeedResponse{}, f.on("EnsureSeed", r.GetCommand(), func(m *fakeMachine) { m.seed = r })
}

func (f *fakeAgent) DefineMachine(_ context.Context, r *nodepb.DefineMachineRequest) (*nodepb.DefineMachineResponse, error) {
	return &nodepb.DefineMachineResponse{}, f.on("DefineMachine", r.GetCommand(), func(m *fakeMachine) {
		m.defined, m.allowed, m.guarded = true, r.GetLinks()[0].GetAddresses(), r.GetLinks()[0].GetAntiSpoofing()
		m.says = says{stackID, nodeUUID, r.GetHostId(), r.GetCommand().GetFence()}
		m.define(r)
		m.def = r
	})
}

// AdaptMachine gives a running machine its limits, and with live more CPUs and RAM, as agents do.
func (f *fakeAgent) AdaptMachine(_ context.Context, r *nodepb.AdaptMachineRequest) (*nodepb.AdaptMachineResponse, error) {
	resp := &nodepb.AdaptMachineResponse{}
	return resp, f.on("AdaptMachine", r.GetCommand(), func(m *fakeMachine) {
		resp.Running = m.state == nodepb.MachineState_MACHINE_STATE_RUNNING
		if resp.GetRunning() && r.GetDeferred() {
			return
		}
		m.def = r.GetMachine()
		held := m.has
		m.define(m.def)
		for _, name := range held {
			if f.held[name] && resp.GetRunning() && !slices.Contains(m.has, name) {
				m.has = append(m.has, name)
			}
		}
		if !resp.GetRunning() {
			return
		}
		if resp.Disks = slices.Clone(m.has); f.later {
			resp.Disks = held
		}
		now := proto.CloneOf(r.GetMachine())
		if !r.GetLive() || !m.runs.GetGrowth() || now.GetCpuNumber() < m.runs.GetCpuNumber() {
			now.CpuNumber = m.runs.GetCpuNumber()
		}
		if !r.GetLive() || !m.runs.GetGrowth() || now.GetRamMib() < m.runs.GetRamMib() {
			now.RamMib = m.runs.GetRamMib()
		}
		now.Growth, m.runs = m.runs.GetGrowth(), now
		resp.CpuNumber, resp.RamMib = now.GetCpuNumber(), now.GetRamMib()
	})
}

func (f *fakeAgent) StartMachine(_ context.Context, r *nodepb.StartMachineRequest) (*nodepb.StartMachineResponse, error) {
	resp := &nodepb.StartMachineResponse{}
	return resp, f.on("StartMachine", r.GetCommand(), func(m *fakeMachine) {
		resp.Running = m.state == nodepb.MachineState_MACHINE_STATE_RUNNING
		if d := r.GetMachine(); d != nil && !resp.Running {
			m.define(d)
			m.seed, m.allowed, m.guarded = r.GetSeed(), d.GetLinks()[0].GetAddresses(), d.GetLinks()[0].GetAntiSpoofing()
			m.def = d
		}
		if !resp.GetRunning() {
			m.runs = m.def
		}
		m.state = nodepb.MachineState_MACHINE_STATE_RUNNING
	})
}

func (f *fakeAgent) StopMachine(_ context.Context, r *nodepb.StopMachineRequest) (*nodepb.StopMachineResponse, error) {
	return &nodepb.StopMachineResponse{}, f.on("StopMachine", r.GetCommand(), func(m *fakeMachine) {
		m.state = nodepb.MachineState_MACHINE_STATE_OFF
	})
}

func (f *fakeAgent) RemoveMachine(_ context.Context, r *nodepb.RemoveMachineRequest) (*nodepb.RemoveMachineResponse, error) {
	err := f.on("RemoveMachine", r.GetCommand(), func(*fakeMachine) {})
	if err == nil {
		f.mu.Lock()
		id := r.GetCommand().GetMachine()
		if f.gone == nil {
			f.gone = map[string]*fakeMachine{}
		}
		if m := f.machines[id]; m != nil && m.defined { // a command may be repeated
			f.gone[id] = m
			if r.GetProof() != nil {
				f.reaped++
			}
		}
		delete(f.machines, id)
		f.mu.Unlock()
	}
	return &nodepb.RemoveMachineResponse{}, err
}

func (f *fakeAgent) ListMachines(_ context.Context, r *nodepb.ListMachinesRequest) (*nodepb.ListMachinesResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.timeline = max(f.timeline, r.GetTimeline())
	resp := &nodepb.ListMachinesResponse{Timeline: f.timeline}
	for id, m := range f.machines {
		if m.defined {
			x := &nodepb.Machine{
				Uuid: id, State: m.state, StackId: m.says.stack, Node: m.says.node, HostId: m.says.host, Fence: m.says.fence,
			}
			for _, a := range m.allowed {
				if a, _, _ = strings.Cut(a, "/"); r.GetAddresses() {
					x.Addresses = append(x.Addresses, a)
				}
			}
			resp.Machines = append(resp.Machines, x)
		}
	}
	f.listed++
	if f.list != nil {
		f.list(resp)
	}
	return resp, f.fail["ListMachines"]
}

func (f *fakeAgent) ImportTemplate(_ context.Context, r *nodepb.ImportTemplateRequest) (*nodepb.ImportTemplateResponse, error) {
	return &nodepb.ImportTemplateResponse{Template: &nodepb.Template{Name: r.GetName(), Sha256: "imported", MinRamMib: 1, MinDiskMib: 1}}, nil
}

func (f *fakeAgent) ReadConsole(context.Context, *nodepb.ReadConsoleRequest) (*nodepb.ReadConsoleResponse, error) {
	return &nodepb.ReadConsoleResponse{Text: []byte("hello from the guest\n")}, nil
}
