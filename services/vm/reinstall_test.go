package vm_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	nodepb "slipway.dev/proto/node/v1"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/fault"
)

// TestReinstall: a host begins again with another disk and another password, and keeps everything else; then the old disk
// is gone.
func TestReinstall(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if _, err := w.sign(func(r *vmpb.RegisterNodeRequest) {
		r.Description.Templates = append(r.Description.Templates, &nodepb.Template{Name: "other", Sha256: "def", MinRamMib: 128, MinDiskMib: 64})
	}); err != nil {
		t.Fatal(err)
	}
	r := wish("web1")
	r.Disks = []*vmpb.NewDisk{{SizeMib: 64}, {SizeMib: 32, Name: "data"}}
	c := w.create(w.admin(), r)
	w.done(c.GetTask())
	before := w.read(c.GetId())
	was := w.agent.machine(before.GetInternalName())
	again := func(q *vmpb.ReinstallHostRequest) {
		t.Helper()
		q.Id = c.GetId()
		resp, err := w.upkeep().ReinstallHost(w.admin(), q)
		if err != nil || resp.GetId() != c.GetId() || w.done(resp.GetTask()) != "complete" {
			t.Fatalf("%v %v, task %v", resp, err, w.task(resp.GetTask()))
		}
		w.wait("the host is at rest", func() bool { return w.read(c.GetId()).GetTask() == nil })
	}
	again(&vmpb.ReinstallHostRequest{Os: 2, Password: "other", Disk: before.GetDisk().GetId()})
	h, m := w.read(c.GetId()), w.agent.machine(before.GetInternalName())
	if h.GetOs().GetId() != 2 || h.GetState() != "active" || h.GetDisk().GetName() != "disk0" || h.GetDisk().GetId() != before.GetDisk().GetId() {
		t.Errorf("host %v", h)
	}
	if h.GetIp4()[0].GetIp() != before.GetIp4()[0].GetIp() || h.GetInterfaces()[0].GetMac() != before.GetInterfaces()[0].GetMac() {
		t.Errorf("host %v, was %v", h, before)
	}
	if len(m.files) != 2 || m.files["disk1"] != "" || !slices.Contains(m.has, "disk1") || m.files[m.has[0]] != "def" || m.has[0] == "disk0" {
		t.Errorf("disks %v of %v", m.has, m.files)
	}
	if m.seed.GetPasswordHash() == was.seed.GetPasswordHash() || !cryptForm.MatchString(m.seed.GetPasswordHash()) || !w.agent.running(before.GetInternalName()) {
		t.Errorf("machine %+v", m)
	}
	// Without a password it keeps its own; the name of the disk does not grow. A host that is off stays off.
	op, err := w.hosts().StopHost(w.admin(), &vmpb.StopHostRequest{Id: c.GetId()})
	if err != nil || w.done(op.GetTask()) != "complete" {
		t.Fatal(err)
	}
	again(&vmpb.ReinstallHostRequest{Os: 1})
	now := w.agent.machine(before.GetInternalName())
	if now.seed.GetPasswordHash() != m.seed.GetPasswordHash() || len(now.files) != 2 || now.files[now.has[0]] != "abc" ||
		strings.Count(now.has[0], "-") != 1 || w.state(c.GetId()) != "stopped" || w.agent.running(before.GetInternalName()) {
		t.Errorf("machine %+v, host %s", now, w.state(c.GetId()))
	}
	w.done(w.erase(c.GetId()))
	w.nothingLeft()
}

// TestReinstallIsTakenBack: whatever fails on the node leaves the machine with its old disk, and as it was: running.
func TestReinstallIsTakenBack(t *testing.T) {
	t.Parallel()
	for _, call := range []string{"EnsureDisk", "StopMachine", "EnsureSeed", "DefineMachine", "StartMachine"} {
		t.Run(call, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			c := w.create(w.admin(), wish("web1"))
			w.done(c.GetTask())
			name := w.read(c.GetId()).GetInternalName()
			was := w.agent.machine(name)
			w.agent.mu.Lock()
			w.agent.refuseOnce = map[string]error{call: fault.Invalid.With("this will never work")}
			w.agent.mu.Unlock()
			r, err := w.upkeep().ReinstallHost(w.admin(), &vmpb.ReinstallHostRequest{Id: c.GetId(), Os: 1, Password: "other"})
			if err != nil {
				t.Fatal(err)
			}
			if s := w.done(r.GetTask()); s != "failed" {
				t.Fatalf("task %v", w.task(r.GetTask()))
			}
			now := w.agent.machine(name)
			if !maps.Equal(now.files, was.files) || !slices.Equal(now.has, was.has) || now.seed.GetPasswordHash() != was.seed.GetPasswordHash() {
				t.Errorf("now %+v, was %+v", now, was)
			}
			if !w.agent.running(name) {
				t.Error("the machine is off")
			}
			w.wait("the host is active", func() bool { return w.state(c.GetId()) == "active" })
			var rows int
			if err := w.deps.Pool.QueryRow(t.Context(), `SELECT count(*) FROM reinstall`).Scan(&rows); err != nil || rows != 0 {
				t.Errorf("%d rows are left: %v", rows, err)
			}
			w.done(w.erase(c.GetId()))
			w.nothingLeft()
		})
	}
}

// TestReinstallRefuses: what can never succeed is refused before anything is touched.
func TestReinstallRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	second := "66666666-2222-3333-4444-555555555555"
	if _, err := w.sign(func(r *vmpb.RegisterNodeRequest) {
		r.Description.Templates = append(r.Description.Templates,
			&nodepb.Template{Name: "big", Sha256: "b", MinRamMib: 128, MinDiskMib: 65}, &nodepb.Template{Name: "hungry", Sha256: "h", MinRamMib: 129, MinDiskMib: 64})
	}); err != nil {
		t.Fatal(err)
	}
	one := w.nodeID
	c := w.create(w.admin(), func() *vmpb.CreateHostRequest { r := wish("web1"); r.Node = &one; return r }())
	w.done(c.GetTask())
	w.registerAs(second, "boot-1", "elsewhere")
	tasks := w.read(c.GetId()).GetTask()
	for name, tt := range map[string]struct {
		r             *vmpb.ReinstallHostRequest
		reason, field string
	}{
		"no OS":           {&vmpb.ReinstallHostRequest{}, "INVALID_ARGUMENT", "os"},
		"an unknown OS":   {&vmpb.ReinstallHostRequest{Os: 99}, "INVALID_ARGUMENT", "os"},
		"another node's":  {&vmpb.ReinstallHostRequest{Os: 4}, "OS_NOT_ON_NODE", "os"},
		"a small disk":    {&vmpb.ReinstallHostRequest{Os: 2}, "INVALID_ARGUMENT", "os"},
		"little memory":   {&vmpb.ReinstallHostRequest{Os: 3}, "INVALID_ARGUMENT", "os"},
		"an image":        {&vmpb.ReinstallHostRequest{Os: 1, Image: 1}, "INVALID_ARGUMENT", "image"},
		"another disk":    {&vmpb.ReinstallHostRequest{Os: 1, Disk: 999}, "INVALID_ARGUMENT", "disk"},
		"a long password": {&vmpb.ReinstallHostRequest{Os: 1, Password: strings.Repeat("x", 129)}, "INVALID_ARGUMENT", "password"},
		"two lines":       {&vmpb.ReinstallHostRequest{Os: 1, Password: "a\nb"}, "INVALID_ARGUMENT", "password"},
	} {
		tt.r.Id = c.GetId()
		_, err := w.upkeep().ReinstallHost(w.admin(), tt.r)
		if f, ok := fault.From(err); !ok || f.Reason != tt.reason || f.Field != tt.field {
			t.Errorf("%s: %v", name, err)
		}
	}
	yes := true
	if _, err := w.hosts().UpdateHost(w.admin(), &vmpb.UpdateHostRequest{Id: c.GetId(), IsProtected: &yes}); err != nil {
		t.Fatal(err)
	}
	_, err := w.upkeep().ReinstallHost(w.admin(), &vmpb.ReinstallHostRequest{Id: c.GetId(), Os: 1})
	w.reason("protected", err, "HOST_PROTECTED")
	_, err = w.upkeep().ReinstallHost(w.as(11, "@user"), &vmpb.ReinstallHostRequest{Id: c.GetId(), Os: 1})
	w.reason("another owner's", err, fault.NotFound.Reason)
	if h := w.read(c.GetId()); h.GetTask() != tasks || h.GetState() != "active" {
		t.Errorf("host %v", h)
	}
}
