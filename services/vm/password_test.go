package vm_test

import (
	"strings"
	"testing"

	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
)

// setPassword sets the password of a host and returns the task as it ended.
func (w *world) setPassword(id int32) *vmpb.Task {
	w.Helper()
	op, err := w.upkeep().SetHostPassword(w.admin(), &vmpb.SetHostPasswordRequest{Id: id, Password: "another"})
	if err != nil {
		w.Fatal(err)
	}
	w.done(op.GetTask())
	return w.task(op.GetTask())
}

// TestPassword: the guest agent sets the password of a guest that has one; every other guest takes it at its next start,
// and the task says which.
func TestPassword(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.create(w.admin(), wish("web1"))
	w.done(c.GetTask())
	name := w.read(c.GetId()).GetInternalName()
	was := w.agent.machine(name).seed.GetPasswordHash()

	task := w.setPassword(c.GetId())
	m := w.agent.machine(name)
	if task.GetStatus() != "complete" || !strings.Contains(task.GetOutput(), "guest agent has set") || m.login == was || !cryptForm.MatchString(m.login) {
		t.Errorf("task %v, guest has %q", task, m.login)
	}
	if m.seed.GetPasswordHash() != m.login {
		t.Errorf("the seed has another password than the guest")
	}
	restart := func() {
		t.Helper()
		r, err := w.hosts().RestartHost(w.admin(), &vmpb.RestartHostRequest{Id: c.GetId()})
		if err != nil || w.done(r.GetTask()) != "complete" {
			t.Fatal(err)
		}
	}
	restart()
	if s := w.agent.machine(name).seed; s.GetPasswordHash() != m.login || s.GetPasswordSerial() != 0 {
		t.Errorf("after a restart: %v", s)
	}

	w.agent.failOn("SetGuestPassword", errSilent)
	task = w.setPassword(c.GetId())
	now := w.agent.machine(name)
	if task.GetStatus() != "complete" || !strings.Contains(task.GetOutput(), "next start") || now.login != m.login ||
		now.seed.GetPasswordHash() == m.login || now.seed.GetPasswordSerial() != task.GetId() {
		t.Errorf("task %v, seed %v", task, now.seed)
	}
	restart()
	if s := w.agent.machine(name).seed; s.GetPasswordHash() != now.seed.GetPasswordHash() || s.GetPasswordSerial() != task.GetId() {
		t.Errorf("after a restart: %v", s)
	}

	// What fails on the node leaves the seed as it was, and no password anywhere.
	w.agent.failOn("SetGuestPassword", fault.Invalid.With("never"))
	task = w.setPassword(c.GetId())
	if s := w.agent.machine(name).seed; task.GetStatus() != "failed" || s.GetPasswordHash() != now.seed.GetPasswordHash() {
		t.Errorf("task %v, seed %v", task, s)
	}
	var rows int
	if err := w.deps.Pool.QueryRow(t.Context(), `SELECT count(*) FROM password_change`).Scan(&rows); err != nil || rows != 0 {
		t.Errorf("%d rows are left: %v", rows, err)
	}
	for what, bad := range map[string]string{"none": "", "long": strings.Repeat("ä", 129), "lines": "a\nb"} {
		_, err := w.upkeep().SetHostPassword(w.admin(), &vmpb.SetHostPasswordRequest{Id: c.GetId(), Password: bad})
		if f, _ := fault.From(err); f == nil || f.Field != "password" {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, err := w.upkeep().SetHostPassword(w.as(11, identity.RoleUser), &vmpb.SetHostPasswordRequest{Id: c.GetId(), Password: "x"})
	w.reason("another owner's", err, fault.NotFound.Reason)
}

// TestGuestAgent: the task says whether there is an agent in the guest.
func TestGuestAgent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.create(w.admin(), wish("web1"))
	w.done(c.GetTask())
	check := func() *vmpb.Task {
		t.Helper()
		op, err := w.upkeep().CheckGuestAgent(w.admin(), &vmpb.CheckGuestAgentRequest{Id: c.GetId()})
		if err != nil {
			t.Fatal(err)
		}
		w.done(op.GetTask())
		return w.task(op.GetTask())
	}
	if task := check(); task.GetStatus() != "complete" {
		t.Errorf("task %v", task)
	}
	w.agent.powerCut()
	if task := check(); task.GetStatus() != "failed" || !strings.Contains(task.GetOutput(), "guest agent") {
		t.Errorf("task %v", task)
	}
}
