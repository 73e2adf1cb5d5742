package vm_test

import (
	"testing"

	"google.golang.org/grpc/codes"

	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/fault"
)

// TestStartWithoutADisk: a file that is missing stays missing, so the task fails at once and its output names the file.
func TestStartWithoutADisk(t *testing.T) {
	t.Parallel()
	for _, reason := range []string{"DISK_NOT_READY", "TEMPLATE_NOT_INSTALLED"} {
		w := newWorld(t)
		c := w.create(w.admin(), wish("web1"))
		w.done(c.GetTask())
		stop, err := w.hosts().StopHost(w.admin(), &vmpb.StopHostRequest{Id: c.GetId()})
		if err != nil || w.done(stop.GetTask()) != "complete" {
			t.Fatal(stop, err)
		}
		before := w.agent.tried("StartMachine")
		w.agent.failOn("StartMachine", fault.New(codes.FailedPrecondition, reason, "disk disk0 is not there"))
		start, err := w.hosts().StartHost(w.admin(), &vmpb.StartHostRequest{Id: c.GetId()})
		if err != nil || w.done(start.GetTask()) != "failed" {
			t.Fatal(start, err)
		}
		if out := w.task(start.GetTask()).GetOutput(); out != "disk disk0 is not there" {
			t.Errorf("%s: output %q", reason, out)
		}
		if n := w.agent.tried("StartMachine") - before; n != 1 {
			t.Errorf("%s: tried %d times", reason, n)
		}
	}
}
