package vm_test

import (
	"testing"

	"google.golang.org/protobuf/types/known/structpb"

	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/fault"
)

// holdDisks makes the agent wait before it answers for a disk, until the returned function is called.
func (f *fakeAgent) holdDisks() (release func()) {
	hold := make(chan struct{})
	f.with(func() { f.hold = hold })
	return func() {
		f.with(func() { f.hold = nil })
		close(hold)
	}
}

func (s *sized) disks() vmpb.DiskServiceClient { return vmpb.NewDiskServiceClient(s.conn) }

// disk is the one disk of the host, as the list shows it.
func (s *sized) disk() *vmpb.Disk {
	s.Helper()
	l, err := s.disks().ListDisks(s.user, &vmpb.ListDisksRequest{})
	if err != nil || l.GetSize() != 1 {
		s.Fatalf("disks: %v, %v", l, err)
	}
	return l.GetList()[0]
}

// has compares the size of the disk, the one that waits, and what the node and the account count.
func (s *sized) has(when string, size, sizeNew int32) {
	s.Helper()
	d, h := s.disk(), s.host()
	if d.GetSizeMib() != size || d.GetSizeMibNew() != sizeNew || h.GetDisk().GetDiskMib() != size || h.GetDisk().GetDiskMibNew() != sizeNew {
		s.Errorf("%s the disk has %d MiB and waits for %d, the host says %v; want %d and %d", when,
			d.GetSizeMib(), d.GetSizeMibNew(), h.GetDisk(), size, sizeNew)
	}
	var node, account int32
	err := s.deps.Pool.QueryRow(s.Context(), `
		SELECT n.storage_allocated, u.hdd_mib FROM node n, account_usage u WHERE u.account_id = 11`).Scan(&node, &account)
	if err != nil || node != sizeNew || account != sizeNew {
		s.Errorf("%s %d MiB are sold of the node, %d counted for the account, want %d (%v)", when, node, account, sizeNew, err)
	}
}

func (s *sized) grow(size int32) *vmpb.ChangeDiskResponse {
	s.Helper()
	r, err := s.disks().ChangeDisk(s.user, &vmpb.ChangeDiskRequest{Id: s.disk().GetId(), SizeMib: size, Defer: &vmpb.DiskDefer{Action: "host_stop"}})
	if err != nil {
		s.Fatal(err)
	}
	return r
}

// TestDiskGrows: the room is taken when the change is accepted, and the disk has its new size when the task is done.
func TestDiskGrows(t *testing.T) {
	t.Parallel()
	s := newSized(t, false)
	was := s.disk()
	if was.GetHost().GetId() != s.id || !was.GetHost().GetIsMain() || was.GetTargetDev() != "vda" || was.GetAccount().GetId() != 11 {
		t.Errorf("%v", was)
	}
	size := was.GetSizeMib()
	hold := s.agent.holdDisks()
	first := s.grow(size + 100)
	second := s.grow(size + 300)
	s.has("while the tasks wait", size, size+300)
	hold()
	for _, r := range []*vmpb.ChangeDiskResponse{first, second} {
		if got := s.done(r.GetTask().GetValue()); got != "complete" || r.GetId() != was.GetId() {
			t.Error(s.task(r.GetTask().GetValue()))
		}
	}
	s.has("at the end", size+300, size+300)
	if name := s.task(first.GetTask().GetValue()).GetName(); name != "disk_resize" {
		t.Errorf("task %s", name)
	}
	if got := s.agent.machine(s.host().GetInternalName()).sizes["disk0"]; got != size+300 {
		t.Errorf("the machine's disk has %d MiB", got)
	}
}

// TestDiskThatCannotGrow: what the disk did not get is given back, also if a later change waits.
func TestDiskThatCannotGrow(t *testing.T) {
	t.Parallel()
	s := newSized(t, false)
	size := s.disk().GetSizeMib()
	s.agent.with(func() { s.agent.fail["EnsureDisk"] = fault.Invalid.With("no") })
	hold := s.agent.holdDisks()
	first, second := s.grow(size+100), s.grow(size+300)
	hold()
	for _, r := range []*vmpb.ChangeDiskResponse{first, second} {
		if got := s.done(r.GetTask().GetValue()); got != "failed" {
			t.Error(s.task(r.GetTask().GetValue()))
		}
	}
	s.has("after the failure", size, size)
}

func TestDiskIsRenamed(t *testing.T) {
	t.Parallel()
	s := newSized(t, false)
	name := "data of web1"
	r, err := s.disks().ChangeDisk(s.user, &vmpb.ChangeDiskRequest{Id: s.disk().GetId(), Name: &name})
	if err != nil || r.GetTask() != nil {
		t.Errorf("%v %v", r, err)
	}
	if got := s.disk().GetName(); got != name {
		t.Errorf("the disk is called %q", got)
	}
}

func TestDiskChangeIsRefused(t *testing.T) {
	t.Parallel()
	s := newSized(t, false)
	d := s.disk()
	path, empty := "../x", ""
	limit := d.GetSizeMib() + 10
	limits := &vmpb.SetLimitsRequest{Id: 11, HddMib: structpb.NewNumberValue(float64(limit))}
	if _, err := s.limits().SetLimits(s.admin(), limits); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		what   string
		change *vmpb.ChangeDiskRequest
		reason string
	}{
		{"nothing", &vmpb.ChangeDiskRequest{}, "INVALID_ARGUMENT"},
		{"smaller", &vmpb.ChangeDiskRequest{SizeMib: d.GetSizeMib() - 1}, "INVALID_ARGUMENT"},
		{"negative", &vmpb.ChangeDiskRequest{SizeMib: -1}, "INVALID_ARGUMENT"},
		{"too large", &vmpb.ChangeDiskRequest{SizeMib: 64<<20 + 1}, "INVALID_ARGUMENT"},
		{"at another time", &vmpb.ChangeDiskRequest{SizeMib: limit, Defer: &vmpb.DiskDefer{Action: "tomorrow"}}, "INVALID_ARGUMENT"},
		{"a path", &vmpb.ChangeDiskRequest{Name: &path}, "INVALID_ARGUMENT"},
		{"no name", &vmpb.ChangeDiskRequest{Name: &empty}, "INVALID_ARGUMENT"},
		{"beyond the limit", &vmpb.ChangeDiskRequest{SizeMib: limit + 1}, "QUOTA_EXCEEDED"},
	} {
		tt.change.Id = d.GetId()
		_, err := s.disks().ChangeDisk(s.user, tt.change)
		s.reason(tt.what, err, tt.reason)
	}
	_, err := s.disks().ChangeDisk(s.as(12, "@user"), &vmpb.ChangeDiskRequest{Id: d.GetId(), SizeMib: limit})
	s.reason("another account", err, "NOT_FOUND")
	_, err = s.disks().GetDisk(s.as(12, "@user"), &vmpb.GetDiskRequest{Id: d.GetId()})
	s.reason("another account reads", err, "NOT_FOUND")
	s.exec(`UPDATE account_usage SET max_hdd_mib = NULL`)
	_, err = s.disks().ChangeDisk(s.user, &vmpb.ChangeDiskRequest{Id: d.GetId(), SizeMib: 1 << 20})
	s.reason("beyond the node", err, "NO_CAPACITY")
	s.has("after all", d.GetSizeMib(), d.GetSizeMib())
}
