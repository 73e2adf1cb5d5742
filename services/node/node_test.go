package node_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	nodepb "slipway.dev/proto/node/v1"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/rpc"
	"slipway.dev/services/node"
)

const machine = "11111111-2222-3333-4444-555555555555"

// fakeVM takes signs of life.
type fakeVM struct {
	vmpb.UnimplementedNodeServiceServer
	last  *vmpb.RegisterNodeRequest
	signs int
	knows string // what it answers to a list of templates; "" as the version before
}

func (f *fakeVM) RegisterNode(_ context.Context, r *vmpb.RegisterNodeRequest) (*vmpb.RegisterNodeResponse, error) {
	f.last = r
	f.signs++
	return &vmpb.RegisterNodeResponse{Id: 1, HeartbeatSeconds: 10, Templates: f.knows}, nil
}

func start(t *testing.T, root string) (*node.Service, nodepb.NodeServiceClient, *fakeVM) {
	t.Helper()
	vm := &fakeVM{}
	return startWith(t, root, "", vm)
}

// startWith starts an agent that installs the templates of a directory.
func startWith(t *testing.T, root, templates string, vm *fakeVM) (*node.Service, nodepb.NodeServiceClient, *fakeVM) {
	t.Helper()
	s := rpc.NewServer(slog.New(slog.DiscardHandler), nil)
	vmpb.RegisterNodeServiceServer(s, vm)
	svc, err := node.New(t.Context(), node.Config{
		Root: root, StackID: "stack", Endpoint: node.LocalEndpoint, Hypervisor: node.Sim, Templates: templates,
	}, s.Local("node"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = svc.Close() })
	return svc, nodepb.NewNodeServiceClient(svc.Server().Local("vm")), vm
}

func command(fence int64) *nodepb.Command { return &nodepb.Command{Machine: machine, Fence: fence} }

func make1(t *testing.T, c nodepb.NodeServiceClient, fence int64) error {
	t.Helper()
	ctx := t.Context()
	if _, err := c.EnsureNetwork(ctx, &nodepb.EnsureNetworkRequest{Name: "br0", Addresses: []string{"10.0.0.1/24"}}); err != nil {
		t.Fatal(err)
	}
	d := &nodepb.Disk{Name: "disk0", SizeMib: 64}
	if _, err := c.EnsureDisk(ctx, &nodepb.EnsureDiskRequest{Command: command(fence), Disk: d}); err != nil {
		return err
	}
	links := []*nodepb.Link{{Mac: "52:54:00:00:00:01", Addresses: []string{"10.0.0.7/24"}, Gateways: []string{"10.0.0.1"}, Network: "br0"}}
	if _, err := c.EnsureSeed(ctx, &nodepb.EnsureSeedRequest{Command: command(fence), Hostname: "web1", Links: links}); err != nil {
		return err
	}
	if _, err := c.DefineMachine(ctx, &nodepb.DefineMachineRequest{
		Command: command(fence), Title: "web1", CpuNumber: 1, RamMib: 128, Disks: []*nodepb.Disk{d}, Links: links, HostId: 7,
	}); err != nil {
		return err
	}
	_, err := c.StartMachine(ctx, &nodepb.StartMachineRequest{Command: command(fence)})
	return err
}

func stale(err error) bool {
	f, ok := fault.From(err)
	return ok && f.Reason == "STALE_COMMAND"
}

func TestMachineAndFence(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	_, c, _ := start(t, root)
	if err := make1(t, c, 5); err != nil {
		t.Fatal(err)
	}
	if err := make1(t, c, 5); err != nil {
		t.Errorf("a repeated command is refused: %v", err)
	}
	l, err := c.ListMachines(t.Context(), &nodepb.ListMachinesRequest{})
	if err != nil || len(l.GetMachines()) != 1 || l.GetMachines()[0].GetState() != nodepb.MachineState_MACHINE_STATE_RUNNING || l.GetMachines()[0].GetHostId() != 7 {
		t.Fatalf("machines %v %v", l, err)
	}
	con, err := c.ReadConsole(t.Context(), &nodepb.ReadConsoleRequest{Machine: machine})
	if err != nil || !strings.Contains(string(con.GetText()), "ready web1 10.0.0.7") {
		t.Errorf("console %q %v", con.GetText(), err)
	}
	if _, err := c.StopMachine(t.Context(), &nodepb.StopMachineRequest{Command: command(4), Force: true}); !stale(err) {
		t.Errorf("an overtaken stop: %v", err)
	}
	if _, err := c.StopMachine(t.Context(), &nodepb.StopMachineRequest{Command: command(6)}); err != nil {
		t.Error(err)
	}
	// A second agent on the same root, as after a crash, knows both machine and fence.
	_, again, _ := start(t, root)
	if _, err := again.StartMachine(t.Context(), &nodepb.StartMachineRequest{Command: command(5)}); !stale(err) {
		t.Errorf("after a restart an overtaken start: %v", err)
	}
	for range 2 {
		if _, err := again.RemoveMachine(t.Context(), &nodepb.RemoveMachineRequest{Command: command(9)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := make1(t, again, 8); !stale(err) {
		t.Errorf("a late create brought a removed machine back: %v", err)
	}
	if l, err := again.ListMachines(t.Context(), &nodepb.ListMachinesRequest{}); err != nil || len(l.GetMachines()) != 0 {
		t.Errorf("machines %v %v", l, err)
	}
}

func TestDescribesItself(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	svc, _, vm := start(t, root)
	if _, err := svc.Register(t.Context()); err != nil {
		t.Fatal(err)
	}
	first := vm.last.GetDescription()
	if first.GetCpuNumber() == 0 || first.GetRamMib() == 0 || first.GetUuid() == "" || first.GetBridge() == "" || len(first.GetDns()) == 0 {
		t.Errorf("description %v", first)
	}
	svc, _, vm = start(t, root)
	if _, err := svc.Register(t.Context()); err != nil {
		t.Fatal(err)
	}
	if vm.last.GetDescription().GetUuid() != first.GetUuid() {
		t.Error("the node's identity does not survive a restart")
	}
}

func TestOnlyVMCommands(t *testing.T) {
	t.Parallel()
	svc, _, _ := start(t, t.TempDir())
	c := nodepb.NewNodeServiceClient(svc.Server().Local("gateway"))
	_, err := c.RemoveMachine(t.Context(), &nodepb.RemoveMachineRequest{Command: command(1)})
	if f, ok := fault.From(err); !ok || f.Code != codes.PermissionDenied {
		t.Errorf("the gateway commands a node: %v", err)
	}
}

func TestBadCommands(t *testing.T) {
	t.Parallel()
	_, c, _ := start(t, t.TempDir())
	for name, err := range map[string]error{
		"machine": func() error {
			_, err := c.StartMachine(t.Context(), &nodepb.StartMachineRequest{Command: &nodepb.Command{Machine: "../x"}})
			return err
		}(),
		"mac": func() error {
			_, err := c.EnsureSeed(t.Context(), &nodepb.EnsureSeedRequest{Command: command(1), Hostname: "a", Links: []*nodepb.Link{{Mac: "x"}}})
			return err
		}(),
		"addresses": func() error {
			_, err := c.EnsureNetwork(t.Context(), &nodepb.EnsureNetworkRequest{Name: "br0", Addresses: []string{"10.0.0.1"}})
			return err
		}(),
	} {
		if f, ok := fault.From(err); !ok || f.Code != codes.InvalidArgument || !strings.Contains(f.Field, name) {
			t.Errorf("%s: %+v", name, err)
		}
	}
}

// TestHypervisorStays: what the first start chose is kept, for machines of one are unknown to the other.
func TestHypervisorStays(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	start(t, root)
	_, err := node.New(t.Context(), node.Config{Root: root, StackID: "stack", Endpoint: "local", Hypervisor: node.Libvirt},
		nil, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "was used with the hypervisor sim") {
		t.Errorf("another hypervisor on the same root: %v", err)
	}
	if err := os.WriteFile(filepath.Join(root, "node-id"), []byte("not a uuid"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = node.New(t.Context(), node.Config{Root: root, StackID: "stack", Endpoint: "local", Hypervisor: node.Sim},
		nil, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "node-id") {
		t.Errorf("a spoilt identity: %v", err)
	}
}
