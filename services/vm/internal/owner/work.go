package owner

import (
	"slipway.dev/pkg/jobs"
	"slipway.dev/services/vm/internal/machine"
)

// moveKind is the dialect's name of the task.
const moveKind = "host_account"

// Register registers the handler of the task that clients wait for: the request has moved the host.
func Register(r *jobs.Runner) { jobs.Handle(r, moveKind, jobs.Handler[machine.Args]{}) }
