package agent_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	nodepb "slipway.dev/proto/node/v1"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/fetch"
	"slipway.dev/services/node/internal/agent"
	"slipway.dev/services/node/internal/hyper"
	"slipway.dev/services/node/internal/journal"
	"slipway.dev/services/node/internal/sim"
)

// guest is a driver whose machine stops after a number of requests to shut down; 0: it never does.
type guest struct {
	hyper.Driver
	obeysAfter int
	shutdowns  []time.Time
	powerOffs  int
	stateErr   error
}

func (g *guest) State(context.Context, uuid.UUID) (hyper.State, error) {
	if g.obeysAfter > 0 && len(g.shutdowns) >= g.obeysAfter {
		return hyper.State{Power: hyper.Off}, g.stateErr
	}
	return hyper.State{Power: hyper.Running}, g.stateErr
}

func (g *guest) Shutdown(context.Context, uuid.UUID) error {
	g.shutdowns = append(g.shutdowns, time.Now())
	return nil
}

func (g *guest) PowerOff(context.Context, uuid.UUID) error {
	g.powerOffs++
	return nil
}

func newAgent(t *testing.T, d hyper.Driver) (*agent.Agent, *journal.Journal) {
	t.Helper()
	j, err := journal.Open(t.TempDir(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return agent.New("s", "n", d, j, nil, "", fetch.Config{}), j
}

func commandFor(id uuid.UUID, fence int64) *nodepb.Command {
	return &nodepb.Command{Machine: id.String(), Fence: fence}
}

// TestStop: a guest is asked every ten seconds until it stops, and loses its power when the grace is over, or at once by force.
func TestStop(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name                 string
		obeysAfter           int
		grace                int32
		force                bool
		shutdowns, powerOffs int
	}{
		{"obeys at once", 1, 60, false, 1, 0},
		{"is booting and misses the first request", 2, 60, false, 2, 0},
		{"never obeys", 0, 35, false, 4, 1},
		{"never obeys, default grace", 0, 0, false, 6, 1},
		{"force", 1, 60, true, 0, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := &guest{obeysAfter: tt.obeysAfter}
				a, _ := newAgent(t, g)
				r, err := a.StopMachine(t.Context(), &nodepb.StopMachineRequest{
					Command: commandFor(uuid.New(), 1), Force: tt.force, GraceSeconds: tt.grace,
				})
				if err != nil {
					t.Fatal(err)
				}
				if len(g.shutdowns) != tt.shutdowns || g.powerOffs != tt.powerOffs || r.GetForced() != (tt.powerOffs > 0) {
					t.Errorf("%d requests, %d times power off, forced %v", len(g.shutdowns), g.powerOffs, r.GetForced())
				}
				for i, at := range g.shutdowns[min(1, len(g.shutdowns)):] {
					if gap := at.Sub(g.shutdowns[i]); gap < 10*time.Second || gap > 11*time.Second {
						t.Errorf("%v between two requests, want ten seconds", gap)
					}
				}
			})
		})
	}
}

// TestStopGivesUp: a stop that ends early, by its caller or because the state is unknown, must not cut the power.
func TestStopGivesUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &guest{}
		a, _ := newAgent(t, g)
		stop := &nodepb.StopMachineRequest{Command: commandFor(uuid.New(), 1), GraceSeconds: 60}
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
		defer cancel()
		if _, err := a.StopMachine(ctx, stop); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after its caller has gone: %v", err)
		}
		g.stateErr = errors.New("the hypervisor is away")
		if _, err := a.StopMachine(t.Context(), stop); !errors.Is(err, g.stateErr) {
			t.Errorf("without a state: %v", err)
		}
		if g.powerOffs != 0 {
			t.Errorf("%d times power off", g.powerOffs)
		}
	})
}

// TestMalformed: a command that cannot be read is refused, with the field at fault, and changes nothing.
func TestMalformed(t *testing.T) {
	t.Parallel()
	d, err := sim.Open(sim.Config{StackID: "s", NodeID: "n", Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	a, j := newAgent(t, d)
	ctx, id := t.Context(), uuid.New()
	links := func(mac, address, gateway string) []*nodepb.Link {
		return []*nodepb.Link{{Mac: mac, Network: "br0", Addresses: []string{address}, Gateways: []string{gateway}}}
	}
	const mac, address, gateway = "52:54:00:00:00:01", "10.0.0.2/24", "10.0.0.1"
	seed := func(l []*nodepb.Link, dns ...string) error {
		_, err := a.EnsureSeed(ctx, &nodepb.EnsureSeedRequest{Command: commandFor(id, 1), Hostname: "h", Links: l, Dns: dns})
		return err
	}
	define := func(l []*nodepb.Link) error {
		_, err := a.DefineMachine(ctx, &nodepb.DefineMachineRequest{
			Command: commandFor(id, 1), Title: "h", CpuNumber: 1, RamMib: 64, Links: l,
		})
		return err
	}
	network := func(r *nodepb.EnsureNetworkRequest) error {
		_, err := a.EnsureNetwork(ctx, r)
		return err
	}
	_, noUUID := a.StartMachine(ctx, &nodepb.StartMachineRequest{Command: &nodepb.Command{Machine: "x", Fence: 9}})
	_, noUUIDToRemove := a.RemoveMachine(ctx, &nodepb.RemoveMachineRequest{Command: &nodepb.Command{Fence: 9}})
	for _, tt := range []struct {
		name  string
		err   error
		field string
	}{
		{"machine", noUUID, "machine"},
		{"machine to remove", noUUIDToRemove, "machine"},
		{"seed: mac", seed(links("zz", address, gateway)), "links.mac"},
		{"seed: address without a prefix", seed(links(mac, "10.0.0.2", gateway)), "links.addresses"},
		{"seed: gateway", seed(links(mac, address, "10.0.0.1/24")), "links.gateways"},
		{"seed: dns", seed(links(mac, address, gateway), "1.1.1.1", "dns.example"), "dns"},
		{"define: mac", define(links("", address, gateway)), "links.mac"},
		{"define: address", define(links(mac, "10.0.0.300/24", gateway)), "links.addresses"},
		{"network: address", network(&nodepb.EnsureNetworkRequest{Name: "br0", Addresses: []string{"10.0.0.1"}}), "addresses"},
		{"network: nat", network(&nodepb.EnsureNetworkRequest{Name: "br0", Nat: []string{"any"}}), "nat"},
	} {
		if f, ok := fault.From(tt.err); !ok || f.Reason != fault.Invalid.Reason || f.Field != tt.field {
			t.Errorf("%s: %v, want a fault on %s", tt.name, tt.err, tt.field)
		}
	}
	if list, err := d.Traces(ctx); err != nil || len(list) != 0 {
		t.Errorf("left behind: %v %v", list, err)
	}
	if list, err := d.Networks(ctx); err != nil || len(list) != 0 {
		t.Errorf("left behind: %v %v", list, err)
	}
	if j.Removed(id) {
		t.Error("a tombstone is left behind")
	}
}
