package machine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	ippb "slipway.dev/proto/ip/v3"
	nodepb "slipway.dev/proto/node/v1"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/jobs"
	"slipway.dev/services/vm/internal/address"
	"slipway.dev/services/vm/internal/disk"
	"slipway.dev/services/vm/internal/node"
)

// grace is how long a guest may take to shut down before its power is cut.
const grace = 60 * time.Second

// Limits of steps. A node that is in order is far below them; the jobs of a node that exceeds them wait until the node is
// in order again. StopTime leaves a guest its grace.
const (
	StepTime = time.Minute
	StopTime = grace + 30*time.Second
)

// Steps are the steps of jobs that change a machine through the agent of its node.
type Steps struct {
	read Reader
	dial node.Dial
	boot bool // the guest starts in the job
	make Make // may be nil
}

// Make changes a machine as its host has it into what a job makes of it. The slices of the machine are those of the host.
type Make func(ctx context.Context, run *jobs.Run, m *Machine) error

// New returns Steps.
func New(read Reader, dial node.Dial) *Steps { return &Steps{read: read, dial: dial} }

// Booting returns the steps of jobs in which the guest starts: it reads its networks as they are then.
func (s *Steps) Booting() *Steps { return &Steps{s.read, s.dial, true, s.make} }

// Making returns the steps of jobs that make another machine of a host's.
func (s *Steps) Making(m Make) *Steps { return &Steps{s.read, s.dial, s.boot, m} }

// Addresses returns the addresses that the host has when the job is done.
func (s *Steps) Addresses(ctx context.Context, run *jobs.Run, a Args) ([]address.Address, error) {
	p, err := s.plan(ctx, run, a)
	if err != nil {
		return nil, err
	}
	return p.Addresses, nil
}

// plan reads the host once in an attempt: what an agent knows of it does not change while a job of the host runs.
func (s *Steps) plan(ctx context.Context, run *jobs.Run, a Args) (*plan, error) {
	if p, ok := run.Memo.(*plan); ok {
		return p, nil
	}
	m, err := s.read(ctx, a.ID)
	if err != nil {
		return nil, err
	}
	was := *m
	p := &plan{Machine: m, was: &was}
	if s.make != nil {
		if err := s.make(ctx, run, m); err != nil {
			return nil, err
		}
	}
	p.before, p.Addresses = address.During(m.Addresses, run.ID)
	if s.boot {
		p.Addresses, p.Machine = address.AtStart(p.Addresses), m.atStart()
	}
	run.Memo = p
	return p, nil
}

// on returns the plan with a connection to the host's node.
func (s *Steps) on(ctx context.Context, run *jobs.Run, a Args) (*plan, nodepb.NodeServiceClient, error) {
	p, err := s.plan(ctx, run, a)
	if err != nil {
		return nil, nil, err
	}
	agent, err := s.dial.Agent(p.Node, p.Endpoint)
	return p, agent, err
}

// before is on for the machine as it was before the job.
func (s *Steps) before(ctx context.Context, run *jobs.Run, a Args) (*plan, nodepb.NodeServiceClient, error) {
	p, agent, err := s.on(ctx, run, a)
	if err != nil {
		return nil, nil, err
	}
	return &plan{Machine: p.was, Addresses: p.before}, agent, nil
}

// command fences an order to an agent: an order that comes late, from an attempt that lost its lease, is refused.
func command(run *jobs.Run, a Args) *nodepb.Command {
	return &nodepb.Command{Machine: a.UUID, Fence: run.Fence(), Step: run.Step()}
}

// EnsureNetwork gives the bridge the gateways of the host's networks. It may run twice: the agent adds what the bridge
// lacks. It returns a *NodeHas if the node itself has an address of the host.
func (s *Steps) EnsureNetwork(ctx context.Context, run *jobs.Run, a Args) error {
	p, agent, err := s.on(ctx, run, a)
	if err != nil {
		return err
	}
	side := nodeSide(p)
	req := &nodepb.EnsureNetworkRequest{Name: p.Bridge, Addresses: side.GetAddresses(), Nat: side.GetNat()}
	for _, x := range p.Addresses {
		req.Guests = append(req.Guests, x.Addr)
	}
	_, err = agent.EnsureNetwork(ctx, req)
	return whose(err, p.Addresses)
}

// Withhold returns err, the result of EnsureNetwork. If the node itself has an address of the host, Withhold has ip hold
// the address first.
func Withhold(ctx context.Context, ip ippb.AddressServiceClient, a Args, err error) error {
	has, ok := errors.AsType[*NodeHas](err)
	if !ok {
		return err
	}
	if failed := address.Withhold(ctx, ip, a.UUID, has.Address, "an address of a node itself"); failed != nil {
		return failed
	}
	return err
}

// EnsureDisks makes the disks. It may run twice: a disk that exists is left alone.
func (s *Steps) EnsureDisks(ctx context.Context, run *jobs.Run, a Args) error {
	p, agent, err := s.on(ctx, run, a)
	if err != nil {
		return err
	}
	for _, d := range disks(p) {
		if _, err := agent.EnsureDisk(ctx, &nodepb.EnsureDiskRequest{Command: command(run, a), Disk: d}); err != nil {
			return fmt.Errorf("disk %s: %w", d.GetName(), err)
		}
	}
	return nil
}

// GrowDisk enlarges a disk to a size in MiB, also of a running machine. It may run twice: a disk that has the size already is
// left alone.
func (s *Steps) GrowDisk(ctx context.Context, run *jobs.Run, a Args, id, size int32) error {
	p, agent, err := s.on(ctx, run, a)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(p.Disks, func(d disk.Disk) bool { return d.ID == id })
	if i < 0 {
		return fault.NotFound.With("the host has no disk %d any more", id)
	}
	d := p.Disks[i]
	_, err = agent.EnsureDisk(ctx, &nodepb.EnsureDiskRequest{
		Command: command(run, a), Disk: &nodepb.Disk{Name: d.Name, SizeMib: size, Template: d.Template},
	})
	return err
}

// MakeFresh makes the disk that the job makes. It may run twice, as EnsureDisks may.
func (s *Steps) MakeFresh(ctx context.Context, run *jobs.Run, a Args) error {
	p, agent, err := s.on(ctx, run, a)
	if err != nil {
		return err
	}
	for _, d := range disks(p) {
		if d.GetName() != p.Fresh {
			continue
		}
		if _, err := agent.EnsureDisk(ctx, &nodepb.EnsureDiskRequest{Command: command(run, a), Disk: d}); err != nil {
			return err
		}
	}
	return nil
}

// FetchCD downloads the image of a CD to the node, or takes one that was uploaded there. It may run twice: the node downloads it
// again, and an uploaded image stays with the machine.
func (s *Steps) FetchCD(ctx context.Context, run *jobs.Run, a Args, name, url, upload string) error {
	_, agent, err := s.on(ctx, run, a)
	if err != nil {
		return err
	}
	_, err = agent.FetchCD(ctx, &nodepb.FetchCDRequest{
		Command: command(run, a), Name: name, Url: url, Account: run.AccountID, Upload: upload,
	})
	return err
}

// RemoveUnused is RemoveDisk for what a job brought to the node. What the machine uses, because its definition could not be
// restored, stays.
func (s *Steps) RemoveUnused(ctx context.Context, run *jobs.Run, a Args, name string) error {
	err := s.RemoveDisk(ctx, run, a, name)
	if f, ok := fault.From(err); ok && f.Reason == "DISK_IN_USE" {
		return nil
	}
	return err
}

// RemoveDisk removes a disk or a CD that the machine does not use. It may run twice: removing what is gone succeeds, and without a
// row of the host there is nothing to remove.
func (s *Steps) RemoveDisk(ctx context.Context, run *jobs.Run, a Args, name string) error {
	_, agent, err := s.on(ctx, run, a)
	if errors.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = agent.RemoveDisk(ctx, &nodepb.RemoveDiskRequest{Command: command(run, a), Name: name})
	return err
}

// RemoveCD removes the CD that the machine has had until the job. It may run twice, as RemoveDisk may.
func (s *Steps) RemoveCD(ctx context.Context, run *jobs.Run, a Args) error {
	p, err := s.plan(ctx, run, a)
	if err != nil {
		return err
	}
	return s.RemoveDisk(ctx, run, a, p.was.CD)
}

// RemoveRescue removes the disk of the rescue system that the machine has had until the job. It may run twice, as
// RemoveDisk may.
func (s *Steps) RemoveRescue(ctx context.Context, run *jobs.Run, a Args) error {
	p, err := s.plan(ctx, run, a)
	if err != nil {
		return err
	}
	return s.RemoveDisk(ctx, run, a, p.was.Disks[0].Name)
}

// EnsureSeed writes what the guest reads at its start. It may run twice: the seed is written anew from the same data.
func (s *Steps) EnsureSeed(ctx context.Context, run *jobs.Run, a Args) error {
	p, agent, err := s.on(ctx, run, a)
	if err != nil {
		return err
	}
	return writeSeed(ctx, agent, command(run, a), p)
}

func writeSeed(ctx context.Context, agent nodepb.NodeServiceClient, c *nodepb.Command, p *plan) error {
	_, err := agent.EnsureSeed(ctx, seedOf(c, p))
	return err
}

func seedOf(c *nodepb.Command, p *plan) *nodepb.EnsureSeedRequest {
	return &nodepb.EnsureSeedRequest{
		Command: c, Hostname: p.Hostname, Fqdn: p.Domain, PasswordHash: p.PasswordHash,
		SshKeys: p.SSHKeys, Links: links(p), Dns: p.nameServers(), PasswordSerial: p.Serial,
	}
}

// Define defines the machine. It may run twice: the agent redefines.
func (s *Steps) Define(ctx context.Context, run *jobs.Run, a Args) error {
	p, agent, err := s.on(ctx, run, a)
	if err != nil {
		return err
	}
	return defineOn(ctx, agent, command(run, a), p)
}

func defineOn(ctx context.Context, agent nodepb.NodeServiceClient, c *nodepb.Command, p *plan) error {
	_, err := agent.DefineMachine(ctx, definition(c, p))
	return err
}

func definition(c *nodepb.Command, p *plan) *nodepb.DefineMachineRequest {
	r := &nodepb.DefineMachineRequest{
		Command: c, Title: p.Name, CpuNumber: p.CPUs, RamMib: p.RAM,
		Disks: disks(p), Links: links(p), HostId: p.ID, Cd: p.CD,
	}
	p.define(r)
	return r
}

// Start starts the machine. It may run twice: starting a running machine succeeds.
func (s *Steps) Start(ctx context.Context, run *jobs.Run, a Args) error {
	_, agent, err := s.on(ctx, run, a)
	if err != nil {
		return err
	}
	_, err = agent.StartMachine(ctx, &nodepb.StartMachineRequest{Command: command(run, a)})
	return err
}

// Boot starts a machine that has been defined before, with the seed and the definition that it is to have now. It may
// run twice: a running machine is left as it is.
func (s *Steps) Boot(ctx context.Context, run *jobs.Run, a Args) error {
	p, agent, err := s.on(ctx, run, a)
	if err != nil {
		return err
	}
	c := command(run, a)
	resp, err := agent.StartMachine(ctx, &nodepb.StartMachineRequest{Command: c, Seed: seedOf(nil, p), Machine: definition(nil, p)})
	p.ran = resp.GetRunning()
	return err
}

// BootWanted is Boot for a host that is to run. Any other one stays off.
func (s *Steps) BootWanted(ctx context.Context, run *jobs.Run, a Args) error {
	p, err := s.plan(ctx, run, a)
	if err != nil || !p.Wanted {
		return err
	}
	return s.Boot(ctx, run, a)
}

// Booted is with what a machine was started.
type Booted struct {
	Addresses    []address.Address
	AntiSpoofing *bool
	Size         Size
}

// Booted returns with what the attempt has started the machine: the zero value if an earlier attempt did. It returns false
// if the machine ran already.
func (s *Steps) Booted(run *jobs.Run) (b Booted, started bool) {
	p, ok := run.Memo.(*plan)
	if !ok {
		return b, true
	}
	return Booted{append([]address.Address{}, p.Addresses...), &p.AntiSpoofing, Size{p.CPUs, p.RAM}}, !p.ran
}

// Stop stops the machine. It may run twice: stopping a stopped machine succeeds.
func (s *Steps) Stop(ctx context.Context, run *jobs.Run, a Args) error {
	_, agent, err := s.on(ctx, run, a)
	if err != nil {
		return err
	}
	_, err = agent.StopMachine(ctx, &nodepb.StopMachineRequest{
		Command: command(run, a), Force: a.Force, GraceSeconds: int32(grace.Seconds()),
	})
	return err
}

// Remove removes the machine with its disks. It may run twice: removing what is gone succeeds, and without a row of the
// host there is nothing to remove.
func (s *Steps) Remove(ctx context.Context, run *jobs.Run, a Args) error {
	_, agent, err := s.on(ctx, run, a)
	if errors.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = agent.RemoveMachine(ctx, &nodepb.RemoveMachineRequest{Command: command(run, a)})
	return err
}

func disks(p *plan) []*nodepb.Disk {
	list := make([]*nodepb.Disk, len(p.Disks))
	for i, d := range p.Disks {
		list[i] = &nodepb.Disk{Name: d.Name, SizeMib: d.SizeMiB, Template: d.Template, Bus: d.Bus}
	}
	return list
}

// links returns the host's one card with all its addresses, and the first gateway of each family.
func links(p *plan) []*nodepb.Link {
	l := &nodepb.Link{Mac: p.MAC.String(), Network: p.Bridge, AntiSpoofing: p.AntiSpoofing, NodeSide: nodeSide(p)}
	routed := map[int32]bool{}
	for _, a := range p.Addresses {
		l.Addresses = append(l.Addresses, fmt.Sprintf("%s/%d", a.Addr, a.Prefix))
		if a.Gateway != "" && !routed[a.Family] {
			l.Gateways = append(l.Gateways, a.Gateway)
			routed[a.Family] = true
		}
	}
	p.card(l)
	return []*nodepb.Link{l}
}

// nodeSide returns what the machine needs of the bridge of its node.
func nodeSide(p *plan) *nodepb.NodeSide {
	s := &nodepb.NodeSide{}
	for _, x := range p.Addresses {
		prefix, ok := onNode(x)
		if !ok {
			continue
		}
		s.Addresses = append(s.Addresses, prefix.String())
		// A network that is unknown outside: its guests use the node's address there.
		if !isGlobal(prefix.Addr()) {
			s.Nat = append(s.Nat, prefix.Masked().String())
		}
	}
	return s
}
