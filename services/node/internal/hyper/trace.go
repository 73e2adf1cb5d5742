package hyper

import "github.com/google/uuid"

// Trace lists the parts of one machine that are on the node.
type Trace struct {
	UUID    uuid.UUID
	Defined bool
	Running bool
	Disks   []string // names of the disks and CDs that are whole
	Seed    bool
	Partial []string // files that a command which did not end left behind
}
