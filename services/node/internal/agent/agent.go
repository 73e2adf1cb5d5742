// Package agent implements node.v1: it refuses commands that newer ones have overtaken, and passes the others to the driver.
package agent

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	nodepb "slipway.dev/proto/node/v1"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/fetch"
	"slipway.dev/services/node/internal/hyper"
	"slipway.dev/services/node/internal/journal"
	"slipway.dev/services/node/internal/ostemplate"
)

// Agent implements nodepb.NodeServiceServer.
type Agent struct {
	nodepb.UnimplementedNodeServiceServer

	driver    hyper.Driver
	journal   *journal.Journal
	templates *ostemplate.Store
	stackID   string
	nodeID    string
	web       *fetch.Client // https alone
	downloads *downloads
	uploads   *uploads
	viewers   *viewers
}

// New makes the agent of a node. dir is where downloads lie until they are complete, on the file system of the machines.
func New(stackID, nodeID string, d hyper.Driver, j *journal.Journal, s *ostemplate.Store, dir string, reach fetch.Config) *Agent {
	return &Agent{
		driver: d, journal: j, templates: s, stackID: stackID, nodeID: nodeID, web: fetch.New(reach), downloads: newDownloads(dir, reach),
		uploads: newUploads(), viewers: newViewers(d),
	}
}

// command runs f for the machine of c, unless a newer command has overtaken c.
func (a *Agent) command(ctx context.Context, at points, c *nodepb.Command, f func(context.Context, uuid.UUID) error) error {
	id, err := machineID(c.GetMachine())
	if err != nil {
		return err
	}
	return a.journal.Do(ctx, id, orderOf(c), func(ctx context.Context) error {
		return at.round(func() error { return f(ctx, id) })
	})
}

func orderOf(c *nodepb.Command) journal.Order {
	return journal.Order{Fence: c.GetFence(), Step: c.GetStep()}
}

func machineID(s string) (uuid.UUID, error) {
	id, err := uuid.Parse(s)
	if err != nil {
		return id, fault.Invalid.With("not a UUID").On("machine")
	}
	return id, nil
}

// EnsureNetwork makes a bridge.
func (a *Agent) EnsureNetwork(ctx context.Context, r *nodepb.EnsureNetworkRequest) (*nodepb.EnsureNetworkResponse, error) {
	n, err := network(r)
	if err != nil {
		return nil, err
	}
	return &nodepb.EnsureNetworkResponse{}, a.driver.EnsureNetwork(ctx, n)
}

// EnsureDisk makes or grows a disk.
func (a *Agent) EnsureDisk(ctx context.Context, r *nodepb.EnsureDiskRequest) (*nodepb.EnsureDiskResponse, error) {
	return &nodepb.EnsureDiskResponse{}, a.command(ctx, atDisk, r.GetCommand(), func(ctx context.Context, id uuid.UUID) error {
		return a.driver.EnsureDisk(ctx, id, disk(r.GetDisk()))
	})
}

// RemoveDisk removes a disk that the machine does not use.
func (a *Agent) RemoveDisk(ctx context.Context, r *nodepb.RemoveDiskRequest) (*nodepb.RemoveDiskResponse, error) {
	return &nodepb.RemoveDiskResponse{}, a.command(ctx, atRemoveDisk, r.GetCommand(), func(ctx context.Context, id uuid.UUID) error {
		return a.driver.RemoveDisk(ctx, id, r.GetName())
	})
}

// EnsureSeed writes the seed.
func (a *Agent) EnsureSeed(ctx context.Context, r *nodepb.EnsureSeedRequest) (*nodepb.EnsureSeedResponse, error) {
	return &nodepb.EnsureSeedResponse{}, a.command(ctx, atSeed, r.GetCommand(), func(ctx context.Context, id uuid.UUID) error {
		s, err := seedOf(id, r)
		if err != nil {
			return err
		}
		return a.driver.EnsureSeed(ctx, id, s)
	})
}

// DefineMachine makes or changes the domain.
func (a *Agent) DefineMachine(ctx context.Context, r *nodepb.DefineMachineRequest) (*nodepb.DefineMachineResponse, error) {
	return &nodepb.DefineMachineResponse{}, a.command(ctx, atDefine, r.GetCommand(), func(ctx context.Context, id uuid.UUID) error {
		return a.define(ctx, id, r, r.GetCommand().GetFence())
	})
}

func (a *Agent) define(ctx context.Context, id uuid.UUID, r *nodepb.DefineMachineRequest, fence int64) error {
	m, err := machine(id, r)
	if err != nil {
		return err
	}
	m.Meta = hyper.Meta{StackID: a.stackID, NodeID: a.nodeID, HostID: r.GetHostId(), Fence: fence}
	return a.driver.Define(ctx, m)
}

// StartMachine starts a machine. One that does not run gets the seed and the definition of the request first: no other
// command of the machine comes in between.
func (a *Agent) StartMachine(ctx context.Context, r *nodepb.StartMachineRequest) (*nodepb.StartMachineResponse, error) {
	resp := &nodepb.StartMachineResponse{}
	return resp, a.command(ctx, atStart, r.GetCommand(), func(ctx context.Context, id uuid.UUID) error {
		s, err := a.driver.State(ctx, id)
		if err != nil {
			return err
		}
		if resp.Running = s.Power == hyper.Running || s.Power == hyper.Paused; !resp.Running {
			if err := a.renew(ctx, id, r); err != nil {
				return err
			}
		}
		return a.driver.Start(ctx, id)
	})
}

// renew gives a machine the seed and the definition of a start.
func (a *Agent) renew(ctx context.Context, id uuid.UUID, r *nodepb.StartMachineRequest) error {
	if r.GetSeed() != nil {
		s, err := seedOf(id, r.GetSeed())
		if err != nil {
			return err
		}
		if err := a.driver.EnsureSeed(ctx, id, s); err != nil {
			return err
		}
	}
	if r.GetMachine() == nil {
		return nil
	}
	return a.define(ctx, id, r.GetMachine(), r.GetCommand().GetFence())
}

// How a guest is asked to stop: a guest that is still booting misses the first request.
const (
	knockEvery   = 10 * time.Second
	lookEvery    = 200 * time.Millisecond
	defaultGrace = 60 * time.Second
)

// StopMachine stops a machine, by force if the guest does not stop in time.
func (a *Agent) StopMachine(ctx context.Context, r *nodepb.StopMachineRequest) (*nodepb.StopMachineResponse, error) {
	resp := &nodepb.StopMachineResponse{}
	grace := defaultGrace
	if s := r.GetGraceSeconds(); s > 0 {
		grace = time.Duration(s) * time.Second
	}
	return resp, a.command(ctx, atStop, r.GetCommand(), func(ctx context.Context, id uuid.UUID) error {
		if !r.GetForce() {
			off, err := a.shutDown(ctx, id, grace)
			if off || err != nil {
				return err
			}
		}
		resp.Forced = true
		return a.driver.PowerOff(ctx, id)
	})
}

// shutDown asks the guest to stop until it has, or grace is over. It reports whether the machine is off.
func (a *Agent) shutDown(ctx context.Context, id uuid.UUID, grace time.Duration) (bool, error) {
	deadline := time.Now().Add(grace)
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	var knocked time.Time
	for {
		s, err := a.driver.State(ctx, id)
		if err != nil {
			return false, err
		}
		if s.Power == hyper.Off || s.Power == hyper.Crashed {
			return true, nil
		}
		if time.Now().After(deadline) {
			return false, nil
		}
		if time.Since(knocked) > knockEvery {
			if err := a.driver.Shutdown(ctx, id); err != nil {
				return false, err
			}
			knocked = time.Now()
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-look.C:
		}
	}
}

// RemoveMachine removes every trace.
func (a *Agent) RemoveMachine(ctx context.Context, r *nodepb.RemoveMachineRequest) (*nodepb.RemoveMachineResponse, error) {
	id, err := machineID(r.GetCommand().GetMachine())
	if err != nil {
		return nil, err
	}
	if r.GetProof() != nil {
		return &nodepb.RemoveMachineResponse{}, a.removeLeftover(ctx, id, r)
	}
	return &nodepb.RemoveMachineResponse{}, a.journal.DoRemoval(ctx, id, orderOf(r.GetCommand()),
		func(ctx context.Context) error {
			return atRemove.round(func() error { return a.driver.Remove(ctx, id) })
		})
}

var states = map[hyper.Power]nodepb.MachineState{
	hyper.Off:     nodepb.MachineState_MACHINE_STATE_OFF,
	hyper.Running: nodepb.MachineState_MACHINE_STATE_RUNNING,
	hyper.Paused:  nodepb.MachineState_MACHINE_STATE_PAUSED,
	hyper.Crashed: nodepb.MachineState_MACHINE_STATE_CRASHED,
}

// ListMachines returns the machines that the hypervisor has, unless they are as before. The timeline of the request is kept
// first: what vm reads of the answer is not changed by commands of a database that was left behind. Addresses are read when
// the commands that were accepted before have ended, since they may give a machine an address.
func (a *Agent) ListMachines(ctx context.Context, r *nodepb.ListMachinesRequest) (*nodepb.ListMachinesResponse, error) {
	timeline, err := a.journal.Learn(r.GetTimeline())
	if err != nil {
		return nil, err
	}
	if r.GetAddresses() {
		if err := a.journal.Quiet(ctx); err != nil {
			return nil, err
		}
	}
	list, err := a.driver.List(ctx)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(list, func(a, b hyper.Observed) int { return bytes.Compare(a.UUID[:], b.UUID[:]) })
	resp := &nodepb.ListMachinesResponse{AsOf: digest(list), Timeline: timeline}
	if r.GetAsOf() == resp.GetAsOf() {
		resp.Unchanged = true
		return resp, nil
	}
	now := timestamppb.Now()
	for _, o := range list {
		m := &nodepb.Machine{
			Uuid: o.UUID.String(), State: states[o.State.Power], HostId: o.Meta.HostID, SeenAt: now,
			StackId: o.Meta.StackID, Node: o.Meta.NodeID, Fence: o.Meta.Fence,
		}
		if r.GetAddresses() {
			if m.Addresses, err = a.addresses(ctx, o.UUID); err != nil {
				return nil, err
			}
		}
		resp.Machines = append(resp.Machines, m)
	}
	return resp, nil
}

// digest returns a digest of what ListMachines says of these machines, except for when they were observed.
func digest(list []hyper.Observed) string {
	h := sha256.New()
	for _, o := range list {
		fmt.Fprintf(h, "%s %d %d %q %q %d\n", o.UUID, states[o.State.Power], o.Meta.HostID, o.Meta.StackID, o.Meta.NodeID, o.Meta.Fence)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// addresses returns the addresses that a guest may have, in order and each once.
func (a *Agent) addresses(ctx context.Context, id uuid.UUID) ([]string, error) {
	list, err := a.driver.Addresses(ctx, id)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(list, netip.Addr.Compare)
	var texts []string
	for _, addr := range slices.Compact(list) {
		texts = append(texts, addr.String())
	}
	return texts, nil
}

// ListTraces returns every trace of a machine on this node, also what is left of machines that a command removed, the bridges, and
// the templates that are left out.
func (a *Agent) ListTraces(ctx context.Context, _ *nodepb.ListTracesRequest) (*nodepb.ListTracesResponse, error) {
	list, err := a.driver.Traces(ctx)
	if err != nil {
		return nil, err
	}
	orphans, err := a.driver.Orphans(ctx)
	if err != nil {
		return nil, err
	}
	bridges, err := a.driver.Networks(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := a.templates.List(); err != nil { // which looks at each
		return nil, err
	}
	resp := &nodepb.ListTracesResponse{Rules: orphans}
	for _, b := range bridges {
		resp.Bridges = append(resp.Bridges, &nodepb.Bridge{Name: b.Name, Addresses: texts(b.Addresses), Nat: texts(b.NAT)})
	}
	for _, x := range a.templates.LeftOut() {
		resp.LeftOut = append(resp.LeftOut, &nodepb.LeftOut{File: x.File, Reason: x.Reason})
	}
	for _, t := range list {
		resp.Traces = append(resp.Traces, &nodepb.Trace{
			Uuid: t.UUID.String(), Defined: t.Defined, Running: t.Running, Disks: t.Disks, Seed: t.Seed, Partial: t.Partial,
			Fence: a.journal.Fence(t.UUID), Removed: a.journal.Removed(t.UUID),
		})
	}
	return resp, nil
}

// Bounds of the part of a console that one call returns.
const (
	consoleDefault = 64 << 10
	consoleMax     = 256 << 10
)

// ReadConsole returns the end of the serial console.
func (a *Agent) ReadConsole(ctx context.Context, r *nodepb.ReadConsoleRequest) (*nodepb.ReadConsoleResponse, error) {
	id, err := machineID(r.GetMachine())
	if err != nil {
		return nil, err
	}
	n := int(r.GetMaxBytes())
	if n <= 0 {
		n = consoleDefault
	}
	text, err := a.driver.Console(ctx, id, min(n, consoleMax))
	return &nodepb.ReadConsoleResponse{Text: text}, err
}

// ImportTemplate downloads an image.
func (a *Agent) ImportTemplate(ctx context.Context, r *nodepb.ImportTemplateRequest) (*nodepb.ImportTemplateResponse, error) {
	o, err := a.templates.Import(ctx, a.web, ostemplate.OS{
		Name: r.GetName(), Title: r.GetTitle(), MinRAMMiB: r.GetMinRamMib(), MinDiskMiB: r.GetMinDiskMib(),
		OSType: "linux", OSGroup: r.GetOsGroup(),
	}, r.GetUrl(), r.GetChecksumsUrl())
	if err != nil {
		return nil, err
	}
	return &nodepb.ImportTemplateResponse{Template: templateOf(o)}, nil
}
