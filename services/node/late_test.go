package node_test

import (
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"

	nodepb "slipway.dev/proto/node/v1"

	"slipway.dev/pkg/fault"
	"slipway.dev/services/node"
)

// order is a command on its way to a node.
type order struct {
	machine string
	fence   int64
	kind    int
}

// send delivers the order to whatever agent is there.
func (o order) send(t *testing.T, c nodepb.NodeServiceClient) error {
	t.Helper()
	ctx, cmd := t.Context(), &nodepb.Command{Machine: o.machine, Fence: o.fence}
	d := &nodepb.Disk{Name: "disk0", SizeMib: 64}
	var err error
	switch o.kind {
	case 0:
		_, err = c.EnsureDisk(ctx, &nodepb.EnsureDiskRequest{Command: cmd, Disk: d})
	case 1:
		_, err = c.EnsureSeed(ctx, &nodepb.EnsureSeedRequest{Command: cmd, Hostname: "a"})
	case 2:
		_, err = c.DefineMachine(ctx, &nodepb.DefineMachineRequest{Command: cmd, Title: "a", CpuNumber: 1, RamMib: 128, Disks: []*nodepb.Disk{d}})
	case 3:
		_, err = c.StartMachine(ctx, &nodepb.StartMachineRequest{Command: cmd})
	case 4:
		_, err = c.StopMachine(ctx, &nodepb.StopMachineRequest{Command: cmd, Force: true})
	default:
		_, err = c.RemoveMachine(ctx, &nodepb.RemoveMachineRequest{Command: cmd})
	}
	return err
}

// lateCommands delivers 500 commands to 20 machines in any order, some twice, with restarts of the agent in between, and
// counts those that were overtaken and did something all the same. forget is the planted bug: a restart loses the journal.
func lateCommands(t *testing.T, seed uint64, forget bool) (late, harm int) {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 0))
	var orders []order
	for range 20 {
		id := uuid.NewString()
		for fence := range int64(25) {
			orders = append(orders, order{id, fence + 1, random.IntN(6)})
		}
	}
	random.Shuffle(len(orders), func(i, j int) { orders[i], orders[j] = orders[j], orders[i] })
	for range 100 {
		orders = append(orders, orders[random.IntN(len(orders))]) // a network that delivers twice, late
	}
	root := t.TempDir()
	svc, c, _ := start(t, root)
	highest, removed := map[string]int64{}, map[string]bool{}
	for i, o := range orders {
		if i%120 == 119 {
			if err := svc.Close(); err != nil {
				t.Fatal(err)
			}
			if forget {
				if err := os.Remove(filepath.Join(root, "fences.log")); err != nil {
					t.Fatal(err)
				}
			}
			svc, c, _ = start(t, root)
		}
		before := machines(t, root)
		err := o.send(t, c)
		// A removed machine stays removed: the very command that removed it may come again, no other with its number.
		again := o.fence == highest[o.machine] && removed[o.machine] && o.kind < 5
		if o.fence < highest[o.machine] || again {
			late++
			if !stale(err) || machines(t, root) != before {
				harm++
			}
			continue
		}
		if stale(err) {
			t.Errorf("command %d after %d was refused", o.fence, highest[o.machine])
		}
		highest[o.machine], removed[o.machine] = o.fence, o.kind == 5
	}
	return late, harm
}

// machines is everything that the simulated hypervisor keeps.
func machines(t *testing.T, root string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "sim", "machines.log"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestLateCommandsDoNothing(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		if late, harm := lateCommands(t, seed, false); harm > 0 || late < 300 {
			t.Errorf("seed %d: of %d late commands %d did something", seed, late, harm)
		}
	}
}

func TestLateCommandsAreNoticed(t *testing.T) {
	t.Parallel()
	if late, harm := lateCommands(t, 1, true); harm == 0 {
		t.Errorf("a journal that forgets does no harm that is seen, with %d late commands", late)
	}
}

// TestLeftoverNeedsProof removes a machine that nobody asked to remove only when it is what it was said to be.
func TestLeftoverNeedsProof(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	_, c, _ := start(t, root)
	if err := make1(t, c, 5); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "node-id"))
	if err != nil {
		t.Fatal(err)
	}
	id := strings.TrimSpace(string(text))
	for name, p := range map[string]*nodepb.Proof{
		"nothing":              {},
		"another installation": {StackId: "other", Node: id, MaxFence: 9},
		"no installation":      {Node: id, MaxFence: 9},
		"another node":         {StackId: "stack", Node: machine, MaxFence: 9},
		"it is newer":          {StackId: "stack", Node: id, MaxFence: 4},
	} {
		before := machines(t, root)
		_, err := c.RemoveMachine(t.Context(), &nodepb.RemoveMachineRequest{Command: command(9), Proof: p})
		if f, ok := fault.From(err); !ok || f.Reason != "MACHINE_NOT_PROVEN" || machines(t, root) != before {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := c.StopMachine(t.Context(), &nodepb.StopMachineRequest{Command: command(6), Force: true}); err != nil {
		t.Errorf("a refused removal left something in the journal: %v", err)
	}
	proof := &nodepb.Proof{StackId: "stack", Node: id, MaxFence: 5}
	for range 2 {
		if _, err := c.RemoveMachine(t.Context(), &nodepb.RemoveMachineRequest{Command: command(9), Proof: proof}); err != nil {
			t.Error(err)
		}
	}
	if l, err := c.ListMachines(t.Context(), &nodepb.ListMachinesRequest{}); err != nil || len(l.GetMachines()) != 0 {
		t.Errorf("machines %v %v", l, err)
	}
}

// TestNodeOfAnotherIdentity does not start over machines that another node defined.
func TestNodeOfAnotherIdentity(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	svc, c, _ := start(t, root)
	if err := make1(t, c, 5); err != nil {
		t.Fatal(err)
	}
	if err := svc.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(root, "node-id")); err != nil {
		t.Fatal(err)
	}
	_, err := node.New(t.Context(), node.Config{Root: root, StackID: "stack", Endpoint: "local", Hypervisor: node.Sim},
		nil, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "node-id") || !strings.Contains(machines(t, root), machine) {
		t.Errorf("a node with a new identity: %v", err)
	}
}
