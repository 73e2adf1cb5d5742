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
	errNameless          = fault.New(codes.PermissionDenied, "CERTIFICATE_WITHOUT_NODE", "the agent's certificate names no node")
	errNotItsOwn         = fault.New(codes.PermissionDenied, "CERTIFICATE_OF_OTHER_NODE", "the agent's certificate is of another node")
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

// LacksError reports that no node in service can do something that the host needs.
type LacksError struct{ Feature string }

// Error returns the text of the error.
func (e *LacksError) Error() string { return "no node in service can do " + e.Feature }

// Description is what an agent says of its node.
type Description struct {
	StackID                                   string // "" from an older agent
	UUID                                      uuid.UUID
	Name, Endpoint                            string
	CPUs, RAM, StorageMiB, StorageFreeMiB     int32
	CPUModel, Hypervisor, Accel               string
	Kernel, OS, QEMU, Libvirt, BootID, Bridge string
	DNS                                       []string
	Features                                  []string // what the node can give machines or limit
}

// CheckAgent returns a fault if the node that an agent's certificate names is not the node that the agent speaks of.
func CheckAgent(named string, of uuid.UUID) error {
	switch named {
	case of.String():
		return nil
	case "":
		return errNameless.With("the agent's certificate names no node: issue one for this node by `slipway-init node %s`", of)
	}
	return errNotItsOwn.With("the agent's certificate is of node %s, and the agent says that it is node %s", named, of)
}

// Agent is a node's agent.
type Agent struct {
	ID       int32
	UUID     uuid.UUID
	Endpoint string
	Alive    bool
}

// Size is what a host takes of a node.
type Size struct {
	CPUs, RAM int32
	Disk      int64
}

// Want is what a new host asks of its node, in MiB. RAM 0 and Boot 0 are the least that the OS needs there.
type Want struct {
	CPUs, RAM, Boot int32 // Boot is the first disk
	More            int64 // the other disks
	Features        []string
}

// Place is a node with room for a host, what the OS is there, and what the host gets.
type Place struct {
	Node      int32
	Template  string // SHA-256 of the node's version of the OS
	RAM, Boot int32
}

// key returns the key of a node's events.
func key(id int32) string { return "node/" + strconv.Itoa(int(id)) }
