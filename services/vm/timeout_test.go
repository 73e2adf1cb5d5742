package vm_test

import (
	"testing"

	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/identity"
)

// TestTaskTimeout: a task that runs longer than its kind may fails and is taken back, until the limit is reset.
func TestTaskTimeout(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tasks := vmpb.NewTaskServiceClient(w.conn)
	read := func() int32 {
		t.Helper()
		l, err := tasks.GetTaskTimeout(w.admin(), &vmpb.GetTaskTimeoutRequest{Name: "host_create"})
		if err != nil {
			t.Fatal(err)
		}
		return l.GetTimeoutSeconds()
	}
	for _, kind := range []string{"host_delete", "nothing", ""} {
		_, err := tasks.SetTaskTimeout(w.admin(), &vmpb.SetTaskTimeoutRequest{Name: kind, TimeoutSeconds: 60})
		w.reason(kind, err, "NOT_FOUND")
		_, err = tasks.GetTaskTimeout(w.admin(), &vmpb.GetTaskTimeoutRequest{Name: kind})
		w.reason(kind, err, "NOT_FOUND")
	}
	for _, seconds := range []int32{-1, 0, 604801} {
		_, err := tasks.SetTaskTimeout(w.admin(), &vmpb.SetTaskTimeoutRequest{Name: "host_create", TimeoutSeconds: seconds})
		w.reason("out of bounds", err, "INVALID_ARGUMENT")
	}
	_, err := tasks.SetTaskTimeout(w.as(11, identity.RoleUser), &vmpb.SetTaskTimeoutRequest{Name: "host_create", TimeoutSeconds: 60})
	w.reason("a user", err, "PERMISSION_DENIED")
	if n := read(); n != 0 {
		t.Errorf("%d seconds before", n)
	}

	if l, err := tasks.SetTaskTimeout(w.admin(), &vmpb.SetTaskTimeoutRequest{Name: "host_create", TimeoutSeconds: 1}); err != nil || l.GetTimeoutSeconds() != 1 || read() != 1 {
		t.Errorf("%v %v", l, err)
	}
	hold := make(chan struct{})
	w.agent.mu.Lock()
	w.agent.hold = hold
	w.agent.mu.Unlock()
	c := w.create(w.admin(), wish("web1"))
	if status := w.done(c.GetTask()); status != "failed" {
		t.Errorf("the task is %s", status)
	}
	close(hold)
	task, err := tasks.GetTask(w.admin(), &vmpb.GetTaskRequest{Id: c.GetTask()})
	if want := "the task ran longer than tasks of its kind may"; err != nil || task.GetOutput() != want {
		t.Errorf("output %q, want %q: %v", task.GetOutput(), want, err)
	}
	w.agent.mu.Lock()
	w.agent.hold = nil
	w.agent.mu.Unlock()

	if _, err := tasks.ResetTaskTimeout(w.admin(), &vmpb.ResetTaskTimeoutRequest{Name: "host_create"}); err != nil || read() != 0 {
		t.Error(err)
	}
	again := w.create(w.admin(), wish("web2"))
	if status := w.done(again.GetTask()); status != "complete" {
		t.Errorf("without a limit the task is %s", status)
	}
}
