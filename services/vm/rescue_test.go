package vm_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/fault"
)

// rescue asks for a mode and returns the task as it ended.
func (w *world) rescue(id int32, on bool) *vmpb.Task {
	w.Helper()
	op, err := w.upkeep().SetRescueMode(w.admin(), &vmpb.SetRescueModeRequest{Id: id, RescueMode: &on})
	if err != nil {
		w.Fatal(err)
	}
	w.done(op.GetTask())
	return w.task(op.GetTask())
}

// TestRescue: a rescue system lies before the disks of its host, which runs even if it did not before; after the rescue
// nothing of it is left.
func TestRescue(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.create(w.admin(), wish("web1"))
	w.done(c.GetTask())
	name := w.read(c.GetId()).GetInternalName()
	stop := func() {
		t.Helper()
		op, err := w.hosts().StopHost(w.admin(), &vmpb.StopHostRequest{Id: c.GetId()})
		if err != nil || w.done(op.GetTask()) != "complete" {
			t.Fatal(err)
		}
	}
	stop()
	was := w.agent.machine(name)
	if task := w.rescue(c.GetId(), true); task.GetStatus() != "complete" {
		t.Fatalf("task %v", task)
	}
	h, m := w.read(c.GetId()), w.agent.machine(name)
	if !h.GetRescueMode() || h.GetState() != "active" || !w.agent.running(name) || h.GetDisk().GetName() != "disk0" || h.GetDiskCount() != 1 {
		t.Errorf("host %v", h)
	}
	if len(m.has) != 2 || !strings.HasPrefix(m.has[0], "rescue-") || m.has[1] != "disk0" || m.files[m.has[0]] != "abc" ||
		!slices.Equal(m.allowed, was.allowed) || m.seed.GetPasswordHash() != was.seed.GetPasswordHash() {
		t.Errorf("machine %+v", m)
	}
	yes, no := true, false
	_, err := w.upkeep().SetRescueMode(w.admin(), &vmpb.SetRescueModeRequest{Id: c.GetId(), RescueMode: &yes})
	w.reason("twice", err, "RESCUE_MODE")
	_, err = w.upkeep().ReinstallHost(w.admin(), &vmpb.ReinstallHostRequest{Id: c.GetId(), Os: 1})
	w.reason("a reinstallation", err, "RESCUE_MODE")
	_, err = w.upkeep().SetRescueMode(w.admin(), &vmpb.SetRescueModeRequest{Id: c.GetId()})
	w.reason("neither", err, "INVALID_ARGUMENT")

	// The password is the host's own guest's too, from its next start.
	if task := w.setPassword(c.GetId()); !strings.Contains(task.GetOutput(), "next start") {
		t.Errorf("task %v", task)
	}
	// A restart stays in rescue mode.
	r, err := w.hosts().RestartHost(w.admin(), &vmpb.RestartHostRequest{Id: c.GetId()})
	if err != nil || w.done(r.GetTask()) != "complete" || len(w.agent.machine(name).has) != 2 {
		t.Errorf("after a restart: %v %v", w.agent.machine(name).has, err)
	}
	if task := w.rescue(c.GetId(), false); task.GetStatus() != "complete" {
		t.Fatalf("task %v", task)
	}
	m = w.agent.machine(name)
	if !slices.Equal(m.has, was.has) || !maps.Equal(m.files, was.files) || w.read(c.GetId()).GetRescueMode() || !w.agent.running(name) {
		t.Errorf("machine %+v, host %v", m, w.read(c.GetId()))
	}
	if m.seed.GetPasswordSerial() == 0 {
		t.Error("the host's own guest does not get the password")
	}
	_, err = w.upkeep().SetRescueMode(w.admin(), &vmpb.SetRescueModeRequest{Id: c.GetId(), RescueMode: &no})
	w.reason("no rescue to end", err, "RESCUE_MODE")
	w.done(w.erase(c.GetId()))
	w.nothingLeft()
}

// TestRescueIsTakenBack: whatever fails on the node leaves the host as it was, on the way in and on the way out.
func TestRescueIsTakenBack(t *testing.T) {
	t.Parallel()
	for _, call := range []string{"EnsureDisk", "StopMachine", "EnsureSeed", "DefineMachine", "StartMachine"} {
		t.Run(call, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			c := w.create(w.admin(), wish("web1"))
			w.done(c.GetTask())
			name := w.read(c.GetId()).GetInternalName()
			for _, on := range []bool{true, false} {
				if !on && call == "EnsureDisk" {
					return
				}
				was := w.agent.machine(name)
				w.agent.mu.Lock()
				w.agent.refuseOnce = map[string]error{call: fault.Invalid.With("this will never work")}
				w.agent.mu.Unlock()
				if task := w.rescue(c.GetId(), on); task.GetStatus() != "failed" {
					t.Fatalf("task %v", task)
				}
				now := w.agent.machine(name)
				if !maps.Equal(now.files, was.files) || !slices.Equal(now.has, was.has) || w.read(c.GetId()).GetRescueMode() == on {
					t.Errorf("now %+v, was %+v", now, was)
				}
				if !w.agent.running(name) {
					t.Error("the machine is off")
				}
				if on && w.rescue(c.GetId(), true).GetStatus() != "complete" {
					t.Fatal("the second attempt fails too")
				}
			}
		})
	}
}

// TestNoRescueSystem: a node without one refuses at once.
func TestNoRescueSystem(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := "66666666-2222-3333-4444-555555555555"
	node := w.registerAs(other, "boot-1", "elsewhere")
	r := wish("web1")
	r.Node, r.Os = &node, 2
	c := w.create(w.admin(), r)
	yes := true
	_, err := w.upkeep().SetRescueMode(w.admin(), &vmpb.SetRescueModeRequest{Id: c.GetId(), RescueMode: &yes})
	w.reason("no system", err, "NO_RESCUE_SYSTEM")
}
