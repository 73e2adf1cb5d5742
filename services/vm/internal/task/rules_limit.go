package task

import (
	"slices"

	"slipway.dev/pkg/fault"
)

// maxSeconds is the longest limit: a week.
const maxSeconds = 7 * 24 * 3600

// checkKind refuses a limit of tasks that go on to their end, and of those that do not exist.
func checkKind(kind string) error {
	if !slices.Contains(abortable, kind) {
		return fault.NotFound.With("there are no tasks %s that can be limited", fault.Clip(kind))
	}
	return nil
}

// checkSeconds refuses a limit that is none.
func checkSeconds(seconds int32) error {
	if seconds < 1 || seconds > maxSeconds {
		return fault.Invalid.With("1 to %d seconds", maxSeconds).On("timeout_seconds")
	}
	return nil
}
