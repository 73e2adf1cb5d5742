// Package hyper is what the agent asks of a hypervisor: one interface, its plain types and the pure rules about them.
//
// Drivers live beside it (sim, libvirt) and all pass the one suite in hypertest. Every call is idempotent: the caller
// repeats it after a crash and gets success when the world is already as wished.
package hyper

import (
	"context"
	"time"

	"github.com/google/uuid"
)

// Driver runs machines on this node. All methods may be called from many goroutines at once; calls that concern one
// machine are put in order by the driver.
type Driver interface {
	// Facts describes the node.
	Facts(ctx context.Context) (Facts, error)

	// EnsureNetwork makes the bridge exist, be up, carry the host's addresses and translate what NAT names, besides what
	// was asked for before.
	EnsureNetwork(ctx context.Context, n Network) error
	// RemoveNetwork takes the bridge away. ErrNetworkInUse while anything is plugged in; success when it is not there.
	RemoveNetwork(ctx context.Context, name string) error

	// EnsureDisk makes the disk exist with at least its size. It grows a smaller disk and never shrinks one:
	// ErrDiskShrinks then. ErrNoTemplate when the template is not installed here.
	EnsureDisk(ctx context.Context, machine uuid.UUID, d Disk) error
	// EnsureSeed writes the cloud-init seed. A running machine sees a changed seed at its next start.
	EnsureSeed(ctx context.Context, machine uuid.UUID, s Seed) error
	// Define makes the machine known to the hypervisor, or changes its definition. It never starts or stops it; what a
	// running machine cannot change takes effect at its next start. The addresses that a card may use change at once.
	// ErrNoDisk when a disk or the seed is not there.
	Define(ctx context.Context, m Machine) error

	// Start powers on. Success when it runs already, ErrNotDefined when it is not known.
	Start(ctx context.Context, machine uuid.UUID) error
	// Shutdown asks the guest to stop (ACPI) and returns at once. Success when it is off, ErrNotDefined when unknown.
	Shutdown(ctx context.Context, machine uuid.UUID) error
	// PowerOff pulls the plug. Success when it is off or unknown, ErrForeign when the machine is not of our stack.
	PowerOff(ctx context.Context, machine uuid.UUID) error
	// Remove powers off and deletes every trace: definition, disks, seed, console log, directory. Success when there is
	// nothing; ErrForeign, and nothing touched, when the machine is not of our stack.
	Remove(ctx context.Context, machine uuid.UUID) error

	// State says how the machine is. An unknown machine is Absent, which is not an error.
	State(ctx context.Context, machine uuid.UUID) (State, error)
	// List returns the defined machines that carry our stack id. What cannot be listed is an error, never an empty list.
	List(ctx context.Context) ([]Observed, error)
	// Traces lists all that there is of machines of our stack, also halves: a directory without a definition, a definition
	// without a disk. What cannot be looked at is an error.
	Traces(ctx context.Context) ([]Trace, error)
	// Console returns the last maxBytes of the serial console, nothing when there is none.
	Console(ctx context.Context, machine uuid.UUID, maxBytes int) ([]byte, error)

	// Close lets go of the hypervisor. Machines keep running; bridges of ours that nothing is plugged into are removed.
	Close() error
}

// Accel is how guest code is executed.
type Accel string

// The accelerators. AccelSim is the simulated driver's.
const (
	AccelKVM Accel = "kvm"
	AccelTCG Accel = "tcg"
	AccelSim Accel = "sim"
)

// Facts are what the node is and has.
type Facts struct {
	CPUs            int
	CPUModel        string
	MemoryMiB       int64
	StorageTotalMiB int64 // of the file system that holds the root
	StorageFreeMiB  int64
	Hypervisor      string // "qemu", "sim"
	HypervisorVer   string
	QEMU            string // version
	Libvirt         string // version
	Kernel          string
	OS              string // PRETTY_NAME of os-release
	Accel           Accel
	AccelReason     string // why this accelerator, for people
	BootID          string // changes when the node reboots
}

// Power is the coarse state of a machine.
type Power uint8

// The states a machine can be in. Off means defined and not running.
const (
	Absent Power = iota
	Off
	Running
	Paused
	Crashed
)

var powerNames = [...]string{"absent", "off", "running", "paused", "crashed"}

// String is the name of the state in lower case.
func (p Power) String() string {
	if int(p) < len(powerNames) {
		return powerNames[p]
	}
	return "unknown"
}

// State is a power state with the hypervisor's word for why, such as "shutdown", "destroyed", "ioerror".
type State struct {
	Power  Power
	Reason string
}

// Meta is kept with the definition: the proof that a machine is ours, and the number of the command that last shaped it.
type Meta struct {
	StackID string // which control plane
	NodeID  string // which node of it defined the machine
	HostID  int32  // the machine's number in the control plane
	Fence   int64  // the operation's fence number
}

// Observed is one machine as found on the node.
type Observed struct {
	UUID  uuid.UUID
	Name  string // of the definition, see DomainName
	State State
	Meta  Meta
	Since time.Time // when the state was entered, zero when the driver does not know
}
