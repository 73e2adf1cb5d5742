package node

import (
	"errors"
	"strconv"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/fault"
)

// Refusals of a sign of life.
var (
	ErrOtherInstallation = fault.New(codes.FailedPrecondition, "OTHER_INSTALLATION", "the node belongs to another installation")
	ErrNodeTwice         = fault.New(codes.FailedPrecondition, "NODE_TWICE",
		"another machine with the same node id is in service; give this one an id of its own")
)

// Refusals of a host.
var (
	// ErrNoCapacity reports that no node can take the host.
	ErrNoCapacity = fault.New(codes.ResourceExhausted, "NO_CAPACITY", "no node has room for the host")
	// ErrRoomTaken reports that other hosts took or gave back room since Choose: choose again.
	ErrRoomTaken = errors.New("other hosts took the room meanwhile")
)

// Description is what an agent says of its node.
type Description struct {
	StackID                                   string // "" from an older agent
	UUID                                      uuid.UUID
	Name, Endpoint                            string
	CPUs, RAM, StorageMiB, StorageFreeMiB     int32
	CPUModel, Hypervisor, Accel               string
	Kernel, OS, QEMU, Libvirt, BootID, Bridge string
	DNS                                       []string
}

// Agent is a node's agent.
type Agent struct {
	ID       int32
	Endpoint string
	Alive    bool
}

// Size is what a host takes of a node.
type Size struct {
	CPUs, RAM int32
	Disk      int64
}

// key returns the key of a node's events.
func key(id int32) string { return "node/" + strconv.Itoa(int(id)) }
