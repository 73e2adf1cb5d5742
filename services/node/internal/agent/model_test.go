package agent_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	nodepb "slipway.dev/proto/node/v1"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/fence"
	"slipway.dev/pkg/fetch"
	"slipway.dev/services/internal/modelnode"
	"slipway.dev/services/node/internal/agent"
	"slipway.dev/services/node/internal/journal"
	"slipway.dev/services/node/internal/sim"
)

// TestModel sends the same commands to the agent and to the model of it that vm's simulation uses: in any order, late, twice,
// with and without proofs. Both must answer the same, and have the same machines after each.
func TestModel(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // a guest takes 200 ms to stop
		random := rand.New(rand.NewPCG(1, 1))
		seen := map[string]int{}
		for range 80 {
			driver, err := sim.Open(sim.Config{StackID: "s", NodeID: "n", Now: time.Now})
			if err != nil {
				t.Fatal(err)
			}
			marks, err := journal.Open(t.TempDir(), time.Now)
			if err != nil {
				t.Fatal(err)
			}
			a, m := agent.New("s", "n", driver, marks, nil, "", fetch.Config{}), modelnode.New("s", "n")
			var asOf, modelAsOf string
			for i := range 100 {
				name, send := command(random, int64(i/10))
				said, want := answer(t, a, send, &asOf), answer(t, m, send, &modelAsOf)
				if said != want {
					t.Fatalf("%s\nthe agent: %s\nthe model: %s", name, said, want)
				}
				seen[strings.Fields(want)[0]]++
			}
		}
		for _, reason := range []string{"ok", "STALE_COMMAND", "MACHINE_NOT_DEFINED", "DISK_NOT_READY", "NETWORK_NOT_READY", "MACHINE_NOT_PROVEN"} {
			if seen[reason] < 5 {
				t.Errorf("%s was answered %d times: too little was tried", reason, seen[reason])
			}
		}
	})
}

type send func(context.Context, nodepb.NodeServiceServer) error

// command makes one by chance, with a fence that was given about now.
func command(random *rand.Rand, now int64) (string, send) {
	id := uuid.NewSHA1(uuid.Nil, []byte{byte(random.IntN(2))}).String()
	c := &nodepb.Command{Machine: id, Fence: fence.First(now/3) + now + random.Int64N(4), Step: random.Int32N(3)}
	if random.IntN(20) == 0 {
		c.Fence -= fence.First(1) // of a database that was left behind, where it is not negative
	}
	links := []*nodepb.Link{{Mac: "52:54:00:00:00:01", Network: "br0", Addresses: []string{"10.0.0.2/24"}}}
	disk := &nodepb.Disk{Name: fmt.Sprint("disk", random.IntN(2)), SizeMib: 64}
	what, force := random.IntN(10), random.IntN(2) == 0
	if what == 0 && random.IntN(4) > 0 {
		what = 6 // a start, so that some come before the bridge
	}
	proof := &nodepb.Proof{StackId: []string{"s", "s", "x"}[random.IntN(3)], Node: []string{"n", "n", "x"}[random.IntN(3)], MaxFence: fence.First(now/3) + now + random.Int64N(4)}
	return fmt.Sprint(what, c, disk, proof), func(ctx context.Context, n nodepb.NodeServiceServer) (err error) {
		switch what {
		case 0:
			_, err = n.EnsureNetwork(ctx, &nodepb.EnsureNetworkRequest{Name: "br0"})
		case 1, 2:
			_, err = n.EnsureDisk(ctx, &nodepb.EnsureDiskRequest{Command: c, Disk: disk})
		case 3:
			_, err = n.EnsureSeed(ctx, &nodepb.EnsureSeedRequest{Command: c, Hostname: "h", Links: links})
		case 4, 5:
			_, err = n.DefineMachine(ctx, &nodepb.DefineMachineRequest{
				Command: c, Title: "h", CpuNumber: 1, RamMib: 64, Disks: []*nodepb.Disk{disk}, Links: links, HostId: 7,
			})
		case 6:
			r := &nodepb.StartMachineRequest{Command: c}
			if force {
				r.Seed = &nodepb.EnsureSeedRequest{Hostname: "h", Links: links}
				r.Machine = &nodepb.DefineMachineRequest{
					Title: "h", CpuNumber: 1, RamMib: 64, Disks: []*nodepb.Disk{disk}, Links: links, HostId: 8,
				}
			}
			_, err = n.StartMachine(ctx, r)
		case 7:
			_, err = n.StopMachine(ctx, &nodepb.StopMachineRequest{Command: c, Force: force})
		case 8:
			_, err = n.RemoveMachine(ctx, &nodepb.RemoveMachineRequest{Command: c})
		default:
			_, err = n.RemoveMachine(ctx, &nodepb.RemoveMachineRequest{Command: c, Proof: proof})
		}
		return err
	}
}

// answer is how a command ended, whether the machines are as before, and which they are. asOf names the list before.
func answer(t *testing.T, n nodepb.NodeServiceServer, s send, asOf *string) string {
	t.Helper()
	said := "ok"
	if err := s(t.Context(), n); err != nil {
		f, _ := fault.From(err)
		said = f.Reason
	}
	same, err := n.ListMachines(t.Context(), &nodepb.ListMachinesRequest{AsOf: *asOf})
	if err != nil {
		t.Fatal(err)
	}
	list, err := n.ListMachines(t.Context(), &nodepb.ListMachinesRequest{})
	if err != nil || list.GetUnchanged() || list.GetAsOf() != same.GetAsOf() || same.GetUnchanged() && len(same.GetMachines()) > 0 {
		t.Fatalf("a list %v, with its name %v, %v", list, same, err)
	}
	*asOf = list.GetAsOf()
	said += fmt.Sprint(" ", same.GetUnchanged())
	said += fmt.Sprint(" timeline ", list.GetTimeline())
	for _, m := range list.GetMachines() {
		said += fmt.Sprint(" ", m.GetUuid(), m.GetState(), m.GetHostId(), m.GetStackId(), m.GetNode(), m.GetFence())
	}
	return said
}
