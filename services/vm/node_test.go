package vm_test

import (
	"maps"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	nodepb "slipway.dev/proto/node/v1"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/fault"
)

// TestNodeSpeaksForItself: an agent registers the node that its certificate names, and no other one.
func TestNodeSpeaksForItself(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const other = "99999999-2222-3333-4444-555555555555"
	for name, tt := range map[string]struct {
		conn grpc.ClientConnInterface
		says string // "" if the sign of life is taken
	}{
		"its own":     {w.svc.Server().LocalNode(nodeUUID), ""},
		"another one": {w.svc.Server().LocalNode(other), "is of node " + other},
		"nameless":    {w.svc.Server().Local("node"), "slipway-init node " + nodeUUID},
	} {
		// The boot id and endpoint are those of the node: whoever holds another certificate may know them.
		_, err := vmpb.NewNodeServiceClient(tt.conn).RegisterNode(t.Context(), &vmpb.RegisterNodeRequest{
			Endpoint: "local", Description: &nodepb.Description{StackId: stackID, Uuid: nodeUUID, BootId: "boot-1", Hostname: name},
		})
		f, refused := fault.From(err)
		if refused != (tt.says != "") || refused && (f.Code != codes.PermissionDenied || !strings.Contains(f.Error(), tt.says)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var hostname string
	if err := w.deps.Pool.QueryRow(t.Context(), `SELECT name FROM node WHERE uuid = $1`, nodeUUID).Scan(&hostname); err != nil || hostname != "its own" {
		t.Errorf("the node is called %q: %v", hostname, err)
	}
}

// TestDialsTheNode: vm says which node it wants at an endpoint, for all that it asks of agents.
func TestDialsTheNode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	asked := func(what string) {
		t.Helper()
		got := map[any]any{}
		w.dialled.Range(func(node, endpoint any) bool { got[node] = endpoint; return true })
		if !maps.Equal(got, map[any]any{nodeUUID: "local"}) {
			t.Errorf("%s: vm dialled %v", what, got)
		}
	}
	w.looks()
	asked("a look at the node")
	c := w.create(w.admin(), wish("dialled"))
	if s := w.done(c.GetTask()); s != "complete" {
		t.Fatalf("the job is %s", s)
	}
	asked("a job")
	if _, err := w.hosts().GetHostConsole(w.admin(), &vmpb.GetHostConsoleRequest{Id: c.GetId()}); err != nil {
		t.Fatal(err)
	}
	asked("a console")
}

// TestOneReplicaLooks: of two replicas the leader looks at the nodes, and the other one does when the leader is gone. At its
// start each replica asks each node once for its timeline.
func TestOneReplicaLooks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.looks()
	dial := w.deps.Dial
	var second atomic.Int64
	w.deps.Dial = func(node, endpoint string) (grpc.ClientConnInterface, error) {
		second.Add(1)
		return dial(node, endpoint)
	}
	stop := w.stop
	w.start()
	if n := second.Swap(0); n != 1 {
		t.Errorf("the second replica dialled %d times at its start, instead of once", n)
	}
	w.looks()
	if n := second.Load(); n > 0 {
		t.Errorf("the second replica dialled %d times", n)
	}
	stop()
	w.wait("the second replica looks", func() bool { return second.Load() > 0 })
}
