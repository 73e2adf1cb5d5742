package vm_test

import (
	"testing"

	vmpb "slipway.dev/proto/vm/v3"
)

// TestAbort: a create that is aborted leaves nothing, one that waits gives its room back, and what removes something goes on.
func TestAbort(t *testing.T) {
	t.Parallel()
	s := newSized(t, false)
	tasks := vmpb.NewTaskServiceClient(s.conn)
	size := s.disk().GetSizeMib()
	release := s.agent.holdDisks()
	first, second := s.grow(size+100).GetTask().GetValue(), s.grow(size+300).GetTask().GetValue()
	_, err := tasks.AbortTask(s.as(12, "@user"), &vmpb.AbortTaskRequest{Id: second})
	s.reason("another account", err, "NOT_FOUND")
	op, err := tasks.AbortTask(s.user, &vmpb.AbortTaskRequest{Id: second})
	if err != nil || op.GetTask() != second {
		t.Fatal(op, err)
	}
	_, err = tasks.AbortTask(s.user, &vmpb.AbortTaskRequest{Id: second})
	s.reason("twice", err, "TASK_OVER")
	release()
	if got := s.done(first); got != "complete" {
		t.Error(s.task(first))
	}
	if got := s.done(second); got != "canceled" {
		t.Error(s.task(second))
	}
	s.has("after the second was aborted", size+100, size+100)
	_, err = tasks.AbortTask(s.user, &vmpb.AbortTaskRequest{Id: first})
	s.reason("a task that is over", err, "TASK_OVER")

	release = s.agent.holdDisks()
	made := s.create(s.user, wish("web2"))
	if _, err := tasks.AbortTask(s.user, &vmpb.AbortTaskRequest{Id: made.GetTask()}); err != nil {
		t.Fatal(err)
	}
	if got := s.done(made.GetTask()); got != "canceled" {
		t.Error(s.task(made.GetTask()))
	}
	release()
	_, err = s.hosts().GetHost(s.user, &vmpb.GetHostRequest{Id: made.GetId()})
	s.reason("the host", err, "NOT_FOUND")
	s.counted()

	gone, err := s.hosts().DeleteHost(s.user, &vmpb.DeleteHostRequest{Id: s.id})
	if err != nil {
		t.Fatal(err)
	}
	_, err = tasks.AbortTask(s.user, &vmpb.AbortTaskRequest{Id: gone.GetTask()})
	s.reason("a delete", err, "INVALID_ARGUMENT")
	if got := s.done(gone.GetTask()); got != "complete" {
		t.Error(s.task(gone.GetTask()))
	}
}
