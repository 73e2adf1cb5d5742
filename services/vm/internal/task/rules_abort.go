package task

import (
	"slices"

	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/fault"
)

// errOver is the fault of a task that cannot be aborted because it has ended, or is ending.
var errOver = fault.New(codes.FailedPrecondition, "TASK_OVER", "the task is over")

// abortable are the kinds of jobs that an abort leaves in order: each takes back what it did. The others remove something or
// hand it over, and half of that is worse than all of it.
var abortable = []string{
	"host_create", "host_start", "host_stop", "host_restart", "host_change_params", "host_reinstall", "host_iso_mount", "disk_resize", "ip_change", "os_import",
}

// checkAbort refuses the abort of a task that goes on to its end.
func checkAbort(t *item) error {
	if !slices.Contains(abortable, t.Name) {
		return fault.Invalid.With("a task %s goes on to its end", t.Name)
	}
	return nil
}
