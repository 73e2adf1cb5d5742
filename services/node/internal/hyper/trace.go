package hyper

import "github.com/google/uuid"

// Trace is what there is of one machine on the node.
type Trace struct {
	UUID    uuid.UUID
	Defined bool
	Running bool
	Disks   []string // names of the disks that are whole
	Seed    bool
	Partial []string // files that a command which did not end left behind
}
