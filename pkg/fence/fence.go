// Package fence defines the numbers of commands. The upper bits of a number are the timeline of the database that gave the
// number, so every number of a database that a failover left behind is lower than all numbers of the one that took over.
package fence

import (
	"errors"

	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/fault"
)

// numberBits is how many of the bits below the sign count the commands of one timeline. The migrations of pkg/jobs know it.
const numberBits = 40

// ErrStale is the fault of a command that newer ones have overtaken, or whose database was left behind. It says that the
// sender is out of date, and nothing about the machine.
var ErrStale = fault.New(codes.FailedPrecondition, "STALE_COMMAND", "a newer command was seen for this machine")

// IsStale reports whether err is ErrStale, of this process or of a call.
func IsStale(err error) bool {
	f, ok := fault.From(err)
	return ok && errors.Is(f, ErrStale)
}

// Timeline returns the timeline of the database that gave a number; 0 for a number of a version that knew no timelines.
func Timeline(number int64) int64 { return number >> numberBits }

// First returns the lowest number of a timeline.
func First(timeline int64) int64 { return timeline << numberBits }
