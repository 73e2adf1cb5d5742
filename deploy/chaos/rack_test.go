//go:build e2e

package chaos_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	nodepb "slipway.dev/proto/node/v1"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/services/node"
)

// racked is a further node: the way to its agent may be cut.
type racked struct {
	grpc.ClientConnInterface
	svc   *node.Service
	id    int32
	cut   atomic.Bool
	looks atomic.Int64
}

// Invoke makes a call, which is lost while the node is cut off.
func (r *racked) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	if r.cut.Load() {
		return status.Error(codes.Unavailable, "no route to host")
	}
	if method == nodepb.NodeService_ListMachines_FullMethodName {
		defer r.looks.Add(1)
	}
	return r.ClientConnInterface.Invoke(ctx, method, args, reply, opts...)
}

// addNodes adds nodes that hold the template.
func (w *world) addNodes(n int, stackID string) (list []*racked) {
	w.Helper()
	images := template(w.T)
	w.away.Lock()
	w.rack = map[string]*racked{}
	w.away.Unlock()
	for i := range n {
		root := filepath.Join(w.TempDir(), fmt.Sprint("node", i))
		id, err := node.Identity(root, "")
		if err != nil {
			w.Fatal(err)
		}
		svc, err := node.New(w.Context(), node.Config{
			Root: root, StackID: stackID, Endpoint: fmt.Sprint("node", i, ":1"), Templates: images, Hypervisor: node.Sim,
		}, w.AgentConn(id), slog.New(slog.DiscardHandler))
		if err != nil {
			w.Fatal(err)
		}
		w.Cleanup(func() { _ = svc.Close() })
		r := &racked{ClientConnInterface: svc.Server().Local("vm"), svc: svc}
		w.away.Lock()
		w.rack[id] = r
		w.away.Unlock()
		if _, err := svc.Register(w.Context()); err != nil {
			w.Fatal(err)
		}
		r.id = int32(w.count("vm", `SELECT id FROM node WHERE uuid = $1`, uuid.MustParse(id)))
		list = append(list, r)
	}
	return list
}

// TestRackSilent: the nodes of a rack go silent and come back. Their hosts are unknown meanwhile and nothing of them is
// removed; all others are looked at as ever, get new hosts, and keep theirs; what was asked of the rack's hosts is done
// after its return.
func TestRackSilent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	nodes, inRack := scale(24, 999), scale(4, 40)
	all := w.addNodes(nodes, w.stackID())
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	for _, r := range all {
		go w.signs(ctx, r)
	}
	var made []*vmpb.CreateHostResponse
	for i, r := range all {
		made = append(made, w.createOn(r.id, fmt.Sprint("h", i)))
	}
	for _, m := range made {
		if s := w.end(m.GetTask(), 5*healing); s != "done" {
			t.Fatalf("task %d is %s", m.GetTask(), s)
		}
	}
	w.rest(5 * healing)
	silent, others := all[:inRack], all[inRack:]
	for _, r := range silent {
		r.cut.Store(true)
	}
	unknown := `SELECT count(*) FROM host WHERE state = 'unknown'`
	w.await("hosts that are unknown", func() bool { return w.count("vm", unknown) == inRack })
	op, err := w.hosts.DeleteHost(w.admin(), &vmpb.DeleteHostRequest{Id: made[0].GetId()})
	if err != nil {
		t.Fatal(err)
	}
	before := make([]int64, len(others))
	for i, r := range others {
		before[i] = r.looks.Load()
	}
	m := w.createOn(others[0].id, "meanwhile")
	if s := w.end(m.GetTask(), healing); s != "done" {
		t.Errorf("a create beside the silent rack is %s", s)
	}
	for i, r := range others {
		w.await("looks at the others", func() bool { return r.looks.Load() >= before[i]+2 })
	}
	f, err := w.fsck.GetFsck(w.admin(), &vmpb.GetFsckRequest{SettleMs: 20})
	if err != nil || len(f.GetUnchecked()) != inRack || !strings.HasPrefix(f.GetUnchecked()[0], "node ") {
		t.Errorf("the check has not asked %d nodes: %v %v", len(f.GetUnchecked()), f.GetUnchecked(), err)
	}
	if n := w.count("vm", unknown); n != inRack-1 { // one is being deleted
		t.Errorf("%d hosts are unknown", n)
	}
	for _, r := range silent {
		r.cut.Store(false)
	}
	back := time.Now()
	if s := w.end(op.GetTask(), healing); s != "done" {
		t.Errorf("the delete is %s", s)
	}
	w.await("hosts that are known again", func() bool { return w.count("vm", unknown) == 0 })
	w.rest(time.Until(back.Add(5 * healing)))
	if n := w.count("vm", `SELECT count(*) FROM host WHERE state = 'active'`); n != nodes {
		t.Errorf("%d hosts are active", n)
	}
	if n := w.count("vm", `SELECT count(*) FROM reaped`) + w.count("vm", `SELECT count(*) FROM stranger`) +
		w.count("vm", `SELECT count(*) FROM node WHERE breaker_opened_at IS NOT NULL`); n != 0 {
		t.Errorf("%d removals, strangers and open breakers", n)
	}
}

// signs gives signs of life of a node while it is not cut off.
func (w *world) signs(ctx context.Context, r *racked) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(10 * time.Second): // what vm asks for
		}
		if !r.cut.Load() {
			_, _ = r.svc.Register(ctx)
		}
	}
}

// stackID is the installation that the world's node belongs to.
func (w *world) stackID() (id string) {
	w.Helper()
	if err := w.pools["vm"].QueryRow(w.Context(), `SELECT id FROM installation`).Scan(&id); err != nil {
		w.Fatal(err)
	}
	return id
}

func (w *world) createOn(node int32, name string) *vmpb.CreateHostResponse {
	w.Helper()
	m, err := w.hosts.CreateHost(w.admin(), &vmpb.CreateHostRequest{Name: name, Os: w.os, Node: &node, SshKeys: []string{key}})
	if err != nil {
		w.Fatal(err)
	}
	return m
}
