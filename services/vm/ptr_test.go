package vm_test

import (
	"testing"

	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
)

// TestHostPTR: an owner names the addresses of a host by tasks, and reads the names by network.
func TestHostPTR(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.create(w.admin(), wish("web1"))
	w.done(c.GetTask())
	id := c.GetId()
	list := func() *vmpb.HostPTRNetwork {
		t.Helper()
		l, err := w.hosts().ListHostPTR(w.admin(), &vmpb.ListHostPTRRequest{Id: id})
		if err != nil || len(l.GetList()) != 1 || l.GetSize() != 1 {
			t.Fatalf("%v %v", l, err)
		}
		return l.GetList()[0]
	}
	n := list()
	a := n.GetIp()[0]
	if n.GetFamily() != 4 || n.GetNetwork() != "10.1.0.0" || n.GetPrefix() != 16 || n.GetIpCount() != 1 || a.GetDomain() != "" {
		t.Errorf("network %v", n)
	}
	for _, tt := range []struct {
		what, name, domain, reason string
	}{
		{"no name", a.GetName(), "", "INVALID_ARGUMENT"},
		{"no host name", a.GetName(), "a b", "INVALID_ARGUMENT"},
		{"another's address", "192.0.2.1", "a.example.com", "INVALID_ARGUMENT"},
	} {
		_, err := w.hosts().AddHostPTR(w.admin(), &vmpb.AddHostPTRRequest{Id: id, Name: tt.name, Domain: tt.domain})
		w.reason(tt.what, err, tt.reason)
	}
	_, err := w.hosts().SetHostPTR(w.admin(), &vmpb.SetHostPTRRequest{Id: id, Ptr: 999, Domain: "a.example.com"})
	w.reason("no address of the host", err, "NOT_FOUND")
	stranger := w.as(12, identity.RoleUser)
	_, err = w.hosts().RemoveHostPTR(stranger, &vmpb.RemoveHostPTRRequest{Id: id, Ptr: a.GetId()})
	w.reason("another's host", err, "NOT_FOUND")
	_, err = w.hosts().ListHostPTR(stranger, &vmpb.ListHostPTRRequest{Id: id})
	w.reason("another's host", err, "NOT_FOUND")

	op, err := w.hosts().AddHostPTR(w.admin(), &vmpb.AddHostPTRRequest{Id: id, Name: a.GetName(), Domain: "Web.Example.com."})
	if err != nil || op.GetId() != a.GetId() || w.done(op.GetTask()) != "complete" {
		t.Fatal(op, err)
	}
	if got := list().GetIp()[0]; got.GetDomain() != "web.example.com" || got.GetStatus() != "waiting" || w.read(id).GetDomain() != "web.example.com" {
		t.Errorf("name %v, host %s", got, w.read(id).GetDomain())
	}
	if op, err = w.hosts().SetHostPTR(w.admin(), &vmpb.SetHostPTRRequest{Id: id, Ptr: a.GetId(), Domain: "other.example.com"}); err != nil || w.done(op.GetTask()) != "complete" {
		t.Fatal(op, err)
	}
	w.ip.mu.Lock()
	named := w.ip.names[a.GetId()]
	w.ip.mu.Unlock()
	if named != "other.example.com" {
		t.Errorf("ip has %q", named)
	}
	w.ip.mu.Lock()
	w.ip.fail = map[string]error{"SetPTR": fault.NotFound.With("the host has lost the address")}
	w.ip.mu.Unlock()
	if op, err = w.hosts().RemoveHostPTR(w.admin(), &vmpb.RemoveHostPTRRequest{Id: id, Ptr: a.GetId()}); err != nil || w.done(op.GetTask()) != "failed" {
		t.Errorf("ip refuses: %v %v", op, err)
	}
}
