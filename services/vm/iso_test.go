package vm_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	querypb "slipway.dev/proto/query/v1"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
)

const isoURL = "https://mirror.example/install.iso?token=secret"

// mount asks for an image and returns the task as it ended.
func (w *world) mount(id int32) *vmpb.Task {
	w.Helper()
	op, err := w.upkeep().MountISO(w.admin(), &vmpb.MountISORequest{Id: id, Url: isoURL})
	if err != nil {
		w.Fatal(err)
	}
	w.done(op.GetTask())
	return w.task(op.GetTask())
}

// finish takes the image away and returns the task as it ended.
func (w *world) finish(id int32) *vmpb.Task {
	w.Helper()
	op, err := w.upkeep().FinishISO(w.admin(), &vmpb.FinishISORequest{Id: id})
	if err != nil {
		w.Fatal(err)
	}
	w.done(op.GetTask())
	return w.task(op.GetTask())
}

// TestISO: a host starts from an image until that is finished, and nothing of the image is left then.
func TestISO(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.create(w.admin(), wish("web1"))
	w.done(c.GetTask())
	id, name := c.GetId(), w.read(c.GetId()).GetInternalName()
	was := w.agent.machine(name)
	for _, url := range []string{"", "ftp://mirror.example/a.iso", "https://user:secret@mirror.example/a.iso", "a.iso"} {
		_, err := w.upkeep().MountISO(w.admin(), &vmpb.MountISORequest{Id: id, Url: url})
		w.reason(url, err, "INVALID_ARGUMENT")
	}
	_, err := w.upkeep().FinishISO(w.admin(), &vmpb.FinishISORequest{Id: id})
	w.reason("nothing to finish", err, "ISO_NOT_MOUNTED")
	_, err = w.upkeep().CancelISO(w.admin(), &vmpb.CancelISORequest{Id: id})
	w.reason("nothing to cancel", err, "ISO_NOT_MOUNTED")
	_, err = w.upkeep().MountISO(w.as(12, identity.RoleUser), &vmpb.MountISORequest{Id: id, Url: isoURL})
	w.reason("another's host", err, "NOT_FOUND")

	if task := w.mount(id); task.GetStatus() != "complete" {
		t.Fatalf("task %v", task)
	}
	h, m := w.read(id), w.agent.machine(name)
	cd := m.def.GetCd()
	if !h.GetIsoMounted() || h.GetState() != "active" || !w.agent.running(name) || h.GetDiskCount() != 1 ||
		!strings.HasPrefix(cd, "iso-") || m.files[cd] != isoURL || !slices.Equal(m.has, was.has) {
		t.Errorf("host %v, machine %+v", h, m)
	}
	list, err := w.hosts().ListHosts(w.admin(), &vmpb.ListHostsRequest{Query: compare("iso_mounted", querypb.Operator_OPERATOR_EQ, "true")})
	if err != nil || len(list.GetList()) != 1 {
		t.Errorf("hosts with an image: %v %v", list, err)
	}
	_, err = w.upkeep().MountISO(w.admin(), &vmpb.MountISORequest{Id: id, Url: isoURL})
	w.reason("a second image", err, "ISO_MOUNTED")
	_, err = w.upkeep().ReinstallHost(w.admin(), &vmpb.ReinstallHostRequest{Id: id, Os: 1})
	w.reason("a reinstallation", err, "ISO_MOUNTED")
	yes := true
	_, err = w.upkeep().SetRescueMode(w.admin(), &vmpb.SetRescueModeRequest{Id: id, RescueMode: &yes})
	w.reason("a rescue", err, "ISO_MOUNTED")
	if task := w.setPassword(id); !strings.Contains(task.GetOutput(), "next start") {
		t.Errorf("task %v", task)
	}
	r, err := w.hosts().RestartHost(w.admin(), &vmpb.RestartHostRequest{Id: id})
	if err != nil || w.done(r.GetTask()) != "complete" || w.agent.machine(name).def.GetCd() != cd {
		t.Errorf("after a restart: %v %v", w.agent.machine(name).def.GetCd(), err)
	}

	if task := w.finish(id); task.GetStatus() != "complete" {
		t.Fatalf("task %v", task)
	}
	m = w.agent.machine(name)
	if w.read(id).GetIsoMounted() || m.def.GetCd() != "" || !maps.Equal(m.files, was.files) || !w.agent.running(name) {
		t.Errorf("host %v, machine %+v", w.read(id), m)
	}
	w.done(w.erase(id))
	w.nothingLeft()
}

// TestISOIsTakenBack: whatever fails on the node leaves the host as it was, on the way in and on the way out.
func TestISOIsTakenBack(t *testing.T) {
	t.Parallel()
	for _, call := range []string{"FetchCD", "StopMachine", "EnsureSeed", "DefineMachine", "StartMachine"} {
		t.Run(call, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			c := w.create(w.admin(), wish("web1"))
			w.done(c.GetTask())
			id, name := c.GetId(), w.read(c.GetId()).GetInternalName()
			for _, in := range []bool{true, false} {
				if !in && call == "FetchCD" {
					return
				}
				was := w.agent.machine(name)
				w.agent.mu.Lock()
				w.agent.refuseOnce = map[string]error{call: fault.Invalid.With("this will never work")}
				w.agent.mu.Unlock()
				task := w.finish
				if in {
					task = w.mount
				}
				if got := task(id); got.GetStatus() != "failed" {
					t.Fatalf("task %v", got)
				}
				now := w.agent.machine(name)
				if !maps.Equal(now.files, was.files) || now.def.GetCd() != was.def.GetCd() || w.read(id).GetIsoMounted() == in || !w.agent.running(name) {
					t.Errorf("now %+v, was %+v", now, was)
				}
				if in && w.mount(id).GetStatus() != "complete" {
					t.Fatal("the second attempt fails too")
				}
			}
		})
	}
}

// TestISOIsCancelled: while the image is on its way the host runs as before, and a cancel ends the task. Afterwards a cancel does
// what finishing does.
func TestISOIsCancelled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.create(w.admin(), wish("web1"))
	w.done(c.GetTask())
	id, name := c.GetId(), w.read(c.GetId()).GetInternalName()
	was := w.agent.machine(name)
	w.agent.failOn("FetchCD", fault.Unavailable.With("the mirror is away"))
	op, err := w.upkeep().MountISO(w.admin(), &vmpb.MountISORequest{Id: id, Url: isoURL})
	if err != nil {
		t.Fatal(err)
	}
	w.wait("the download is tried", func() bool { return w.agent.tried("FetchCD") > 0 })
	_, err = w.upkeep().MountISO(w.admin(), &vmpb.MountISORequest{Id: id, Url: isoURL})
	w.reason("a second image", err, "ISO_MOUNTED")
	stopped, err := w.upkeep().CancelISO(w.admin(), &vmpb.CancelISORequest{Id: id})
	if err != nil || stopped.GetTask() != op.GetTask() || w.done(op.GetTask()) == "complete" {
		t.Errorf("cancel: %v %v", stopped, err)
	}
	now := w.agent.machine(name)
	if h := w.read(id); h.GetIsoMounted() || h.GetState() != "active" || !w.agent.running(name) || !maps.Equal(now.files, was.files) {
		t.Errorf("host %v, machine %+v", h, now)
	}
	w.agent.failOn("FetchCD", nil)
	if task := w.mount(id); task.GetStatus() != "complete" {
		t.Fatalf("task %v", task)
	}
	stopped, err = w.upkeep().CancelISO(w.admin(), &vmpb.CancelISORequest{Id: id})
	if err != nil || w.done(stopped.GetTask()) != "complete" || w.read(id).GetIsoMounted() {
		t.Errorf("cancel of a mounted image: %v %v", stopped, err)
	}
}
