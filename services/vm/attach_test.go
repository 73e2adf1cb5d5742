package vm_test

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	oppb "slipway.dev/proto/op/v1"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
)

const diskMiB = 300

// newDisk makes a disk without a host.
func (s *sized) newDisk(name string) int32 {
	s.Helper()
	op, err := s.disks().CreateDisk(s.user, &vmpb.CreateDiskRequest{Name: name, SizeMib: diskMiB, Node: s.nodeID})
	if err != nil {
		s.Fatal(err)
	}
	s.ends(op, "complete")
	return op.GetId()
}

// ends waits for the end of the task of an operation.
func (s *sized) ends(op *oppb.Operation, status string) {
	s.Helper()
	if got := s.done(op.GetTask()); got != status {
		s.Fatal(s.task(op.GetTask()))
	}
}

func (s *sized) attach(id int32, first bool) *oppb.Operation {
	s.Helper()
	op, err := s.upkeep().AttachDisk(s.user, &vmpb.AttachDiskRequest{Host: s.id, Id: id, IsMain: first})
	if err != nil {
		s.Fatal(err)
	}
	return op
}

func (s *sized) detach(id int32) *oppb.Operation {
	s.Helper()
	op, err := s.upkeep().DetachDisk(s.user, &vmpb.DetachDiskRequest{Host: s.id, Id: id})
	if err != nil {
		s.Fatal(err)
	}
	return op
}

func (s *sized) diskAs(ctx context.Context, id int32) *vmpb.Disk {
	s.Helper()
	d, err := s.disks().GetDisk(ctx, &vmpb.GetDiskRequest{Id: id})
	if f, ok := fault.From(err); ok && f.Reason == fault.NotFound.Reason {
		return nil
	}
	if err != nil {
		s.Fatal(err)
	}
	return d
}

// runs compares the disks of the host's machine and of its run.
func (s *sized) runs(when string, want ...string) {
	s.Helper()
	m := s.agent.machine(s.host().GetInternalName())
	var defined []string
	for _, d := range m.def.GetDisks() {
		defined = append(defined, d.GetName())
	}
	if !slices.Equal(defined, want) || !slices.Equal(slices.Sorted(maps.Keys(m.files)), slices.Sorted(slices.Values(want))) {
		s.Errorf("%s the machine is defined with %v and has %v, want %v", when, defined, m.files, want)
	}
}

// counts compares what the node and the account count.
func (s *sized) counts(when string, want int32) {
	s.Helper()
	var node, account int32
	err := s.deps.Pool.QueryRow(s.Context(), `
		SELECT n.storage_allocated, u.hdd_mib FROM node n, account_usage u WHERE u.account_id = 11`).Scan(&node, &account)
	if err != nil || node != want || account != want {
		s.Errorf("%s %d MiB are sold of the node, %d counted for the account, want %d (%v)", when, node, account, want, err)
	}
}

// TestDiskWithoutHost: a disk is made, grows, changes its owner and is deleted; what it counts for follows.
func TestDiskWithoutHost(t *testing.T) {
	t.Parallel()
	s := newSized(t, false)
	own := s.disk().GetSizeMib()
	id := s.newDisk("data 1")
	d := s.diskAs(s.user, id)
	if d.GetName() != "data 1" || d.GetSizeMib() != diskMiB || d.GetHost() != nil || d.GetAccount().GetId() != 11 ||
		d.GetNode().GetId() != s.nodeID || d.GetTargetDev() != "" {
		t.Errorf("%v", d)
	}
	s.counts("with the disk", own+diskMiB)
	if s.diskAs(s.as(12, identity.RoleUser), id) != nil {
		t.Error("another account sees the disk")
	}
	r, err := s.disks().ChangeDisk(s.user, &vmpb.ChangeDiskRequest{Id: id, SizeMib: diskMiB + 100})
	if err != nil || s.done(r.GetTask().GetValue()) != "complete" {
		t.Fatalf("%v %v", r, err)
	}
	s.counts("after it grew", own+diskMiB+100)
	_, err = s.disks().ChangeDisk(s.user, &vmpb.ChangeDiskRequest{Id: id, Account: 1})
	s.reason("another account's", err, "INVALID_ARGUMENT")
	if _, err := s.disks().ChangeDisk(s.admin(), &vmpb.ChangeDiskRequest{Id: id, Account: 1}); err != nil {
		t.Fatal(err)
	}
	if s.diskAs(s.user, id) != nil || s.diskAs(s.admin(), id).GetAccount().GetId() != 1 {
		t.Error("the disk has its old owner")
	}
	if _, err := s.disks().ChangeDisk(s.admin(), &vmpb.ChangeDiskRequest{Id: id, Account: 11}); err != nil {
		t.Fatal(err)
	}
	op, err := s.disks().DeleteDisk(s.user, &vmpb.DeleteDiskRequest{Id: id})
	if err != nil {
		t.Fatal(err)
	}
	s.ends(op, "complete")
	if s.diskAs(s.admin(), id) != nil {
		t.Error("the disk is still there")
	}
	s.counts("at the end", own)
	s.ends(&oppb.Operation{Task: s.erase(s.id)}, "complete")
	s.nothingLeft()
}

// TestDiskThatCannotBeMade leaves nothing behind.
func TestDiskThatCannotBeMade(t *testing.T) {
	t.Parallel()
	s := newSized(t, false)
	own := s.disk().GetSizeMib()
	s.agent.with(func() { s.agent.refuseOnce = map[string]error{"EnsureDisk": fault.Invalid.With("no")} })
	op, err := s.disks().CreateDisk(s.user, &vmpb.CreateDiskRequest{Name: "data", SizeMib: diskMiB, Node: s.nodeID})
	if err != nil {
		t.Fatal(err)
	}
	s.ends(op, "failed")
	s.counts("at the end", own)
	if s.diskAs(s.admin(), op.GetId()) != nil {
		t.Error("the disk is there")
	}
}

// TestDiskThatCannotBeDeleted: a disk whose node refuses to remove it stays, and can be deleted later.
func TestDiskThatCannotBeDeleted(t *testing.T) {
	t.Parallel()
	s := newSized(t, false)
	id := s.newDisk("data")
	for _, status := range []string{"failed", "complete"} {
		if status == "failed" {
			s.agent.with(func() { s.agent.refuseOnce = map[string]error{"RemoveMachine": fault.Invalid.With("no")} })
		}
		op, err := s.disks().DeleteDisk(s.user, &vmpb.DeleteDiskRequest{Id: id})
		if err != nil {
			t.Fatal(err)
		}
		s.ends(op, status)
	}
	if s.diskAs(s.admin(), id) != nil {
		t.Error("the disk is still there")
	}
}

// TestDiskGoesFromHostToHost: a disk keeps what is on it while it is attached, detached and attached to another host.
func TestDiskGoesFromHostToHost(t *testing.T) {
	t.Parallel()
	s := newSized(t, false)
	own, id := s.disk().GetSizeMib(), s.newDisk("data")
	s.ends(s.attach(id, false), "complete")
	s.runs("attached", "disk0", s.file(id))
	d := s.diskAs(s.user, id)
	if d.GetHost().GetId() != s.id || d.GetHost().GetIsMain() || d.GetTargetDev() != "vdb" || s.host().GetDiskCount() != 2 {
		t.Errorf("attached: %v", d)
	}
	s.counts("attached", own+diskMiB)
	_, err := s.upkeep().AttachDisk(s.user, &vmpb.AttachDiskRequest{Host: s.id, Id: id})
	s.reason("attached already", err, "DISK_ATTACHED")
	_, err = s.disks().DeleteDisk(s.user, &vmpb.DeleteDiskRequest{Id: id})
	s.reason("attached", err, "DISK_ATTACHED")
	_, err = s.disks().ChangeDisk(s.admin(), &vmpb.ChangeDiskRequest{Id: id, Account: 1})
	s.reason("the owner of an attached disk", err, "DISK_ATTACHED")
	_, err = s.upkeep().DetachDisk(s.user, &vmpb.DetachDiskRequest{Host: s.id, Id: s.host().GetDisk().GetId()})
	s.reason("the main disk", err, "DISK_MAIN")

	s.ends(s.detach(id), "complete")
	s.runs("detached", "disk0")
	s.counts("detached", own+diskMiB)
	_, err = s.upkeep().DetachDisk(s.user, &vmpb.DetachDiskRequest{Host: s.id, Id: id})
	s.reason("detached already", err, "DISK_DETACHED")

	first := s.id
	c := s.create(s.user, wish("web2"))
	s.done(c.GetTask())
	s.id = c.GetId()
	s.ends(s.attach(id, true), "complete")
	if h := s.host(); h.GetDisk().GetId() != id || h.GetDiskCount() != 2 {
		t.Errorf("with another main disk: %v", h)
	}
	s.runs("the main disk", s.file(id), "disk0")
	s.ends(&oppb.Operation{Task: s.erase(s.id)}, "complete")
	if s.diskAs(s.admin(), id) != nil {
		t.Error("a disk outlives its host")
	}
	s.id = first
	s.ends(&oppb.Operation{Task: s.erase(s.id)}, "complete")
	s.nothingLeft()
}

// TestDiskOrder: the first disk of the order is the main one.
func TestDiskOrder(t *testing.T) {
	t.Parallel()
	s := newSized(t, false)
	old, a, b := s.disk().GetId(), s.newDisk("a"), s.newDisk("b")
	s.ends(s.attach(a, false), "complete")
	s.ends(s.attach(b, false), "complete")
	for name, list := range map[string][]*vmpb.DiskPlace{
		"none":             nil,
		"one is missing":   {{Id: old, BootOrder: 1}, {Id: a, BootOrder: 2}},
		"one is twice":     {{Id: old, BootOrder: 1}, {Id: a, BootOrder: 2}, {Id: a, BootOrder: 3}},
		"a place twice":    {{Id: old, BootOrder: 1}, {Id: a, BootOrder: 2}, {Id: b, BootOrder: 2}},
		"a place too far":  {{Id: old, BootOrder: 1}, {Id: a, BootOrder: 2}, {Id: b, BootOrder: math.MaxInt32}},
		"a place of 0":     {{Id: old, BootOrder: 1}, {Id: a, BootOrder: 2}, {Id: b}},
		"one is not there": {{Id: old, BootOrder: 1}, {Id: a, BootOrder: 2}, {Id: b, BootOrder: 3}, {Id: 999, BootOrder: 4}},
	} {
		_, err := s.upkeep().OrderDisks(s.user, &vmpb.OrderDisksRequest{Id: s.id, Disks: list})
		s.reason(name, err, "INVALID_ARGUMENT")
	}
	op, err := s.upkeep().OrderDisks(s.user, &vmpb.OrderDisksRequest{Id: s.id, Disks: []*vmpb.DiskPlace{
		{Id: old, BootOrder: 30}, {Id: a, BootOrder: 20}, {Id: b, BootOrder: 10},
	}})
	if err != nil {
		t.Fatal(err)
	}
	s.ends(op, "complete")
	s.runs("in order", s.file(b), s.file(a), "disk0")
	if h := s.host(); h.GetDisk().GetId() != b {
		t.Errorf("host %v", h.GetDisk())
	}
	s.ends(s.attach(old, true), "complete")
	s.runs("with another main disk", "disk0", s.file(b), s.file(a))
	if h := s.host(); h.GetDisk().GetId() != old {
		t.Errorf("host %v", h.GetDisk())
	}
}

// TestDiskBus: a disk gets the bus that is asked for when it is attached, and another one later. The tasks say when a guest that runs
// gets it.
func TestDiskBus(t *testing.T) {
	t.Parallel()
	s := newSized(t, false)
	id := s.newDisk("data")
	s.agent.with(func() { s.agent.later = true })
	op, err := s.upkeep().AttachDisk(s.user, &vmpb.AttachDiskRequest{Host: s.id, Id: id, Bus: "sata"})
	if err != nil {
		t.Fatal(err)
	}
	s.ends(op, "complete")
	if text := s.task(op.GetTask()).GetOutput(); !strings.Contains(text, "next start") {
		t.Errorf("the task says %q", text)
	}
	bus := func(want, target string) {
		t.Helper()
		d := s.diskAs(s.user, id)
		def := s.agent.machine(s.host().GetInternalName()).def.GetDisks()[1]
		if d.GetBus() != want || d.GetHost().GetBus() != want || d.GetTargetDev() != target || def.GetBus() != want || def.GetName() != s.file(id) {
			t.Errorf("%v, defined as %v, want %s on %s", d, def, want, target)
		}
	}
	bus("sata", "sdc")
	op, err = s.upkeep().AttachDisk(s.user, &vmpb.AttachDiskRequest{Host: s.id, Id: id, Bus: "virtio"})
	if err != nil {
		t.Fatal(err)
	}
	s.ends(op, "complete")
	bus("virtio", "vdb")
	if text := s.task(op.GetTask()).GetOutput(); !strings.Contains(text, "next start") {
		t.Errorf("the task says %q", text)
	}
	if h := s.host(); h.GetDisk().GetId() == id || h.GetDiskCount() != 2 {
		t.Errorf("%v", h)
	}
}

// TestDiskExchangeIsTakenBack: whatever fails on the node leaves the disk where it was, also when the way back fails at first, and a
// second attempt succeeds.
func TestDiskExchangeIsTakenBack(t *testing.T) {
	t.Parallel()
	for _, call := range []string{"MoveDisk", "AdaptMachine"} { // deploy/e2e has the job taken back by another worker
		t.Run(call, func(t *testing.T) {
			t.Parallel()
			s := newSized(t, false)
			id := s.newDisk("data")
			refuse := func() {
				s.agent.with(func() { s.agent.refuseOnce = map[string]error{call: fault.Invalid.With("no")} })
			}
			refuse()
			if call == "AdaptMachine" {
				s.agent.with(func() { s.agent.refuseNext = map[string]error{"MoveDisk": fault.Unavailable} })
			}
			s.ends(s.attach(id, false), "failed")
			s.runs("not attached", "disk0")
			if d := s.diskAs(s.user, id); d.GetHost() != nil {
				t.Errorf("not attached: %v", d)
			}
			s.ends(s.attach(id, false), "complete")
			refuse()
			s.ends(s.detach(id), "failed")
			s.runs("not detached", "disk0", s.file(id))
			if d := s.diskAs(s.user, id); d.GetHost().GetId() != s.id {
				t.Errorf("not detached: %v", d)
			}
			s.ends(s.detach(id), "complete")
			s.runs("detached", "disk0")
		})
	}
}

// TestDiskThatIsHeld: a disk that the guest does not release stays with the host, until the host is off.
func TestDiskThatIsHeld(t *testing.T) {
	t.Parallel()
	s := newSized(t, false)
	id := s.newDisk("data")
	s.ends(s.attach(id, false), "complete")
	s.agent.with(func() { s.agent.held = map[string]bool{s.file(id): true} })
	op := s.detach(id)
	s.ends(op, "failed")
	if d := s.diskAs(s.user, id); d.GetHost().GetId() != s.id {
		t.Errorf("%v", d)
	}
	s.runs("held", "disk0", s.file(id))
	stop, err := s.hosts().StopHost(s.user, &vmpb.StopHostRequest{Id: s.id})
	if err != nil {
		t.Fatal(err)
	}
	s.ends(stop, "complete")
	s.ends(s.detach(id), "complete")
	s.runs("off", "disk0")
}

// TestDiskOfHostThatIsNotMade: a disk whose host cannot be made stays as it is.
func TestDiskOfHostThatIsNotMade(t *testing.T) {
	t.Parallel()
	s := newSized(t, false)
	id, first := s.newDisk("data"), s.id
	hold := s.agent.holdDisks()
	c := s.create(s.user, wish("web2"))
	s.id = c.GetId()
	op := s.attach(id, false)
	s.agent.with(func() { s.agent.refuseOnce = map[string]error{"EnsureDisk": fault.Invalid.With("no")} })
	hold()
	s.ends(&oppb.Operation{Task: c.GetTask()}, "failed")
	s.ends(op, "failed")
	s.id = first
	s.ends(s.attach(id, false), "complete")
	s.runs("attached to another host", "disk0", s.file(id))
}

// TestDiskIsBusy: while a task works on a disk no other does, and its host is not deleted with it.
func TestDiskIsBusy(t *testing.T) {
	t.Parallel()
	s := newSized(t, false)
	id := s.newDisk("data")
	s.ends(s.attach(id, false), "complete")
	s.agent.failOn("AdaptMachine", fault.Unavailable.With("the node is away"))
	op := s.detach(id)
	_, err := s.upkeep().DetachDisk(s.user, &vmpb.DetachDiskRequest{Host: s.id, Id: id})
	s.reason("a second detach", err, "DISK_BUSY")
	_, err = s.disks().ChangeDisk(s.user, &vmpb.ChangeDiskRequest{Id: id, SizeMib: diskMiB + 1})
	s.reason("a growth", err, "DISK_BUSY")
	_, err = s.hosts().DeleteHost(s.user, &vmpb.DeleteHostRequest{Id: s.id})
	s.reason("a deletion of the host", err, "DISK_BUSY")
	s.agent.failOn("AdaptMachine", nil)
	s.ends(op, "complete")
	hold := s.agent.holdDisks()
	r, err := s.disks().ChangeDisk(s.user, &vmpb.ChangeDiskRequest{Id: id, SizeMib: diskMiB + 1})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.upkeep().AttachDisk(s.user, &vmpb.AttachDiskRequest{Host: s.id, Id: id})
	s.reason("an attachment", err, "DISK_BUSY")
	_, err = s.disks().DeleteDisk(s.user, &vmpb.DeleteDiskRequest{Id: id})
	s.reason("a deletion", err, "DISK_BUSY")
	hold()
	s.ends(&oppb.Operation{Task: r.GetTask().GetValue()}, "complete")
	s.ends(s.attach(id, false), "complete")
}

// TestDiskIsRefused: what can never succeed is refused at once.
func TestDiskIsRefused(t *testing.T) {
	t.Parallel()
	s := newSized(t, false)
	good := func() *vmpb.CreateDiskRequest {
		return &vmpb.CreateDiskRequest{Name: "data", SizeMib: diskMiB, Node: s.nodeID}
	}
	for name, spoil := range map[string]func(*vmpb.CreateDiskRequest){
		"no name":           func(r *vmpb.CreateDiskRequest) { r.Name = "" },
		"a path":            func(r *vmpb.CreateDiskRequest) { r.Name = "../x" },
		"no size":           func(r *vmpb.CreateDiskRequest) { r.SizeMib = 0 },
		"a negative size":   func(r *vmpb.CreateDiskRequest) { r.SizeMib = -1 },
		"no node":           func(r *vmpb.CreateDiskRequest) { r.Node = 0 },
		"an unknown node":   func(r *vmpb.CreateDiskRequest) { r.Node = 999 },
		"an unknown store":  func(r *vmpb.CreateDiskRequest) { r.Storage = 999 },
		"another's account": func(r *vmpb.CreateDiskRequest) { r.Account = 1 },
	} {
		r := good()
		spoil(r)
		_, err := s.disks().CreateDisk(s.user, r)
		s.reason(name, err, "INVALID_ARGUMENT")
	}
	_, err := s.disks().CreateDisk(s.as(12, identity.RoleUser), good())
	s.reason("a node without a host of the caller's", err, "INVALID_ARGUMENT")
	r := good()
	r.SizeMib = 64 << 20
	_, err = s.disks().CreateDisk(s.user, r)
	s.reason("more than the node has", err, "NO_CAPACITY")
	id := s.newDisk("data")
	for name, r := range map[string]*vmpb.AttachDiskRequest{
		"no host": {Host: 999, Id: id}, "no disk": {Host: s.id, Id: 999},
	} {
		_, err := s.upkeep().AttachDisk(s.user, r)
		s.reason(name, err, "NOT_FOUND")
	}
	_, err = s.upkeep().AttachDisk(s.user, &vmpb.AttachDiskRequest{Host: s.id, Id: id, Bus: "ide"})
	s.reason("a bus", err, "INVALID_ARGUMENT")
	_, err = s.upkeep().AttachDisk(s.as(12, identity.RoleUser), &vmpb.AttachDiskRequest{Host: s.id, Id: id})
	s.reason("another's host", err, "NOT_FOUND")
	other := s.create(s.admin(), wish("web2"))
	s.done(other.GetTask())
	_, err = s.upkeep().AttachDisk(s.admin(), &vmpb.AttachDiskRequest{Host: other.GetId(), Id: id})
	s.reason("a host of another account", err, "INVALID_ARGUMENT")
	for range 6 {
		s.ends(s.attach(s.newDisk("more"), false), "complete")
	}
	s.agent.failOn("AdaptMachine", fault.Unavailable.With("the node is away")) // the seventh is on its way
	last := s.attach(s.newDisk("last"), false)
	_, err = s.upkeep().AttachDisk(s.user, &vmpb.AttachDiskRequest{Host: s.id, Id: id})
	s.reason("a ninth disk", err, "INVALID_ARGUMENT")
	s.agent.failOn("AdaptMachine", nil)
	s.ends(last, "complete")
}

// file returns the name of the file of a disk that has been without a host.
func (s *sized) file(id int32) string { return fmt.Sprintf("vol%d", id) }
