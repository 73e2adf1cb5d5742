package vm_test

import (
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/fault"
)

// TestNodesOwnAddress: a create or a change that got an address of the node itself fails, says so, and has ip hold that
// address, so that the next request does not get it.
func TestNodesOwnAddress(t *testing.T) {
	t.Parallel()
	refusal := func(field string) error {
		return fault.New(codes.FailedPrecondition, "NODE_HAS_ADDRESS", "").With("the node itself has the address 10.1.0.4").On(field)
	}
	two := int32(2)
	t.Run("create", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.agent.failOn("EnsureNetwork", refusal("guests[1]"))
		r := wish("web1")
		r.Ipv4Number = &two
		c := w.create(w.admin(), r)
		if s := w.done(c.GetTask()); s != "failed" || !strings.Contains(w.task(c.GetTask()).GetOutput(), "the node itself has") {
			t.Fatalf("task %v", w.task(c.GetTask()))
		}
		w.heldOne(0, "10.1.0.4")
		if r := w.ip.released[1]; len(r.GetAddresses()) != 0 || r.GetHold() != "" || !r.GetUnused() {
			t.Errorf("the other address is given back with %v", r)
		}
		w.nothingLeft()
	})
	t.Run("one more", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		h := w.host()
		w.agent.failOn("EnsureNetwork", refusal("guests[1]"))
		op, err := w.hosts().AddHostIP(w.admin(), &vmpb.AddHostIPRequest{Id: h.GetId(), Ipv4Number: 1})
		if err != nil {
			t.Fatal(err)
		}
		if s := w.done(op.GetTask()); s != "failed" {
			t.Fatalf("task %v", w.task(op.GetTask()))
		}
		w.heldOne(0, "10.1.0.4")
		four, _ := w.ips(h.GetId())
		w.same("addresses", four, "10.1.0.3 active")
	})
}

// heldOne checks that release n held the second address of the host, and nothing else.
func (w *world) heldOne(n int, addr string) {
	w.Helper()
	w.ip.mu.Lock()
	defer w.ip.mu.Unlock()
	if len(w.ip.released) <= n {
		w.Fatalf("%d releases", len(w.ip.released))
	}
	r := w.ip.released[n]
	if len(r.GetAddresses()) != 1 || r.GetAddresses()[0].GetId() != 2 || r.GetAddresses()[0].GetGeneration() != 1 || r.GetHold() == "" {
		w.Errorf("%s: %v", addr, r)
	}
}
