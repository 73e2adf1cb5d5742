package hyper

import (
	"time"

	"github.com/google/uuid"
)

// Usage is what a running machine has used since its start, in one sample. Directions are the guest's: what the guest reads,
// writes, receives and sends.
type Usage struct {
	UUID   uuid.UUID
	HostID int32
	CPUs   int
	CPU    time.Duration // of all CPUs together
	Memory MemoryUsage
	Disks  []DiskUsage
	Cards  []CardUsage // in the order of the machine's cards
}

// MemoryUsage is memory in bytes.
type MemoryUsage struct {
	Total int64 // that the machine has now
	// Used is what the guest cannot give to another program at once, or what the machine occupies on the node if the guest
	// does not say.
	Used int64
}

// DiskUsage is what a guest read from a disk and wrote to it.
type DiskUsage struct {
	Name          string
	Read, Written uint64 // bytes
	Reads, Writes uint64 // requests
}

// CardUsage is what a guest received and sent by a network card.
type CardUsage struct {
	Received, Sent               uint64 // bytes
	ReceivedPackets, SentPackets uint64
}
