// Package host keeps the hosts: it creates, lists, renames and deletes them.
package host

import (
	"crypto/sha256"
	"net"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/fault"
	"slipway.dev/services/vm/internal/machine"
)

// State is the dialect's word for what a host does.
type State string

// States of a host. Paused is ours: the hypervisor holds the guest, for lack of disk space for instance.
const (
	Creating State = "creating"
	Active   State = "active"
	Stopped  State = "stopped"
	Starting State = "starting"
	Stopping State = "stopping"
	Deleting State = "deleting"
	Crashed  State = "crashed"
	Paused   State = "paused"
	Unknown  State = "unknown"
)

// What the owner wants of a host.
const (
	WantActive  = "active"
	WantStopped = "stopped"
	WantAbsent  = "absent"
)

// What a client reads and says of balancers.
const (
	balancerOn  = "on"
	balancerOff = "off"
)

// ErrDeleting refuses every change of a host that is being deleted.
var ErrDeleting = fault.New(codes.FailedPrecondition, "HOST_DELETING", "the host is being deleted")

// ErrProtected refuses to destroy what a protected host holds.
var ErrProtected = fault.New(codes.FailedPrecondition, "HOST_PROTECTED", "the host is protected")

// Host is a virtual machine as vm keeps it.
type Host struct {
	ID           int32
	UUID         uuid.UUID
	Name         string
	Comment      string
	Domain       string
	Hostname     string
	State        State
	Wanted       string
	AccountID    int32
	ClusterID    int32
	NodeID       int32
	OSID         int32
	CPUs         int32
	RAM          int32 // MiB
	MAC          net.HardwareAddr
	AntiSpoofing bool  // of the machine as it was defined last
	Limited      *bool // whether it is to be limited; nil: as the cluster says
	PasswordHash string
	SSHKeys      []string
	CreatedAt    time.Time
	Balanced     bool // balancers may move the host
	Protected    bool // neither deleted nor reinstalled
	Autostart    bool // runs again after a reboot of its node
	Tags         []string
	Rescue       string // the disk of the rescue system that the host is in; "" for none
	CD           string // in the drive of the host; "" for none
	NewCPUs      *int32
	NewRAM       *int32 // they wait for the next start
	SoldCPUs     *int32
	SoldRAM      *int32 // see Sold
	ResizeTask   *int32 // the job that is to try the new size
	Limits       *machine.Limits
	NewLimits    *machine.Limits // they wait for the next stop
}

// Unprotected refuses a protected host.
func (h *Host) Unprotected() error {
	if h.Protected {
		return ErrProtected.With("host %d is protected: set is_protected to false first", h.ID).On("is_protected")
	}
	return nil
}

// Resting is the likely state of a host after a job that stopped and started its machine; the next look at the node corrects
// it.
func (h *Host) Resting() State {
	if h.Wanted == WantActive {
		return Active
	}
	return Stopped
}

// OnDisks refuses a host whose guest starts from something else than its disks.
func (h *Host) OnDisks() error {
	switch {
	case h.Rescue != "":
		return machine.ErrRescue.With("host %d is in rescue mode: end that first", h.ID)
	case h.CD != "":
		return machine.ErrISO.With("host %d has an ISO image mounted: finish that first", h.ID)
	}
	return nil
}

// MarkDeleting records that the host is to be deleted. A second delete is refused while the first is carried out.
func (h *Host) MarkDeleting() error {
	if h.State == Deleting {
		return ErrDeleting.With("host %d is being deleted already", h.ID)
	}
	if err := h.Unprotected(); err != nil {
		return err
	}
	h.State, h.Wanted = Deleting, WantAbsent
	return nil
}

// MAC derives the host's hardware address from its UUID, so that a repeated step makes the same card. The first byte
// marks it as locally administered.
func MAC(id uuid.UUID) net.HardwareAddr {
	sum := sha256.Sum256(id[:])
	return net.HardwareAddr{0x52, 0x54, sum[0], sum[1], sum[2], sum[3]}
}

// Observation is a machine as its node saw it, with what the machine says of itself.
type Observation struct {
	UUID    uuid.UUID
	State   State
	HostID  int32
	StackID string
	NodeID  string
	Fence   int64
}
