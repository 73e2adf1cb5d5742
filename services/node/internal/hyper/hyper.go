// Package hyper is the interface between the agent and a hypervisor: its methods, plain types and the pure rules about them.
//
// The drivers (sim, libvirt) all pass the one suite in hypertest. Every call is idempotent: the caller repeats it after a crash,
// and the call succeeds if the requested state is already there.
package hyper

import (
	"context"
	"net"
	"net/netip"
	"time"

	"github.com/google/uuid"
)

// Driver runs machines on this node. All methods may be called from many goroutines at once; the driver serializes calls for the
// same machine.
type Driver interface {
	// Facts describes the node.
	Facts(ctx context.Context) (Facts, error)

	// EnsureNetwork makes the bridge and brings it up, with the host's addresses and the translation of the NAT prefixes
	// that the request asks for, and with those that the machines on the bridge need; others go. It returns ErrNodeNetwork
	// if the node is in a requested network by another way, and ErrNodeAddress if the node has an address of a guest.
	EnsureNetwork(ctx context.Context, n Network) error
	// RemoveNetwork removes the bridge. It returns ErrNetworkInUse while the bridge has ports, and succeeds if there is no bridge.
	RemoveNetwork(ctx context.Context, name string) error

	// Repair looks at the bridges, the rules and the kernel's settings that networks need, and at the rules of running
	// machines' cards, and puts back what other programs took. It returns what that was.
	Repair(ctx context.Context) (Repairs, error)

	// EnsureDisk makes the disk, or grows a smaller one. It returns ErrDiskShrinks for a larger disk, and ErrNoTemplate if the
	// template is not installed here.
	EnsureDisk(ctx context.Context, machine uuid.UUID, d Disk) error
	// AddCD moves a file, which lies in the driver's root, to the machine: the image of a CD with this name. An image of the
	// same name is replaced.
	AddCD(ctx context.Context, machine uuid.UUID, name, path string) error
	// MoveDisk moves a disk from one machine's to another's, where it has the name newName; a machine may be unknown. It
	// succeeds if the disk was moved before. It returns ErrDiskInUse if the first machine is defined with the disk, or runs
	// with it, ErrNoDisk if there is no disk, and ErrInvalid if the second machine has another one of that name.
	MoveDisk(ctx context.Context, from uuid.UUID, name string, to uuid.UUID, newName string) error
	// RemoveDisk removes a disk or the image of a CD. It succeeds if there is none, and returns ErrDiskInUse if the machine
	// is defined with it, or runs with it.
	RemoveDisk(ctx context.Context, machine uuid.UUID, name string) error
	// EnsureSeed writes the cloud-init seed. A running machine sees a changed seed at its next start.
	EnsureSeed(ctx context.Context, machine uuid.UUID, s Seed) error
	// Define makes the machine known to the hypervisor, or changes its definition. It never starts or stops it; what a
	// running machine cannot change takes effect at its next start. The addresses that a card may use, its rules and its
	// limits change at once.
	// Define returns ErrNoDisk if a disk, the CD or the seed is missing.
	Define(ctx context.Context, m Machine) error

	// Adapt makes a running machine like its definition, as far as that goes without a restart: rules and limits of cards and
	// disks, shares, the disks themselves, and with live more CPUs and memory too. It returns what the machine runs with, the
	// zero value if it does not run, and ErrNotDefined if it is unknown. A disk that the guest does not release, or for which
	// the machine has no room, is left for the next start.
	Adapt(ctx context.Context, machine uuid.UUID, live bool) (Resources, error)

	// Start powers the machine on. It succeeds if the machine runs already. It returns ErrNotDefined if the machine is unknown,
	// ErrNoDisk if a disk, the CD or the seed is missing, and ErrNoTemplate if the template that a disk starts from is missing.
	Start(ctx context.Context, machine uuid.UUID) error
	// Shutdown asks the guest to stop (ACPI) and returns at once. It succeeds if the machine is off, and returns ErrNotDefined if
	// it is unknown.
	Shutdown(ctx context.Context, machine uuid.UUID) error
	// GuestAddresses asks the agent in the guest for the addresses of its cards. It returns ErrNoAgent if there is no answer
	// within seconds, and if the machine is off or unknown.
	GuestAddresses(ctx context.Context, machine uuid.UUID) ([]netip.Addr, error)
	// SetGuestPassword has the agent in the guest set root's password, given as a crypt(3) hash. It returns ErrNoAgent as
	// GuestAddresses does, and ErrGuestRefuses if the agent cannot do it.
	SetGuestPassword(ctx context.Context, machine uuid.UUID, hash string) error
	// PowerOff powers the machine off at once. It succeeds if the machine is off or unknown, and returns ErrForeign if the machine
	// is not of our stack.
	PowerOff(ctx context.Context, machine uuid.UUID) error
	// Remove powers off and deletes every trace: definition, disks, seed, console log, directory. It succeeds if there is no
	// trace. It returns ErrForeign and changes nothing if the machine is not of our stack.
	Remove(ctx context.Context, machine uuid.UUID) error

	// State returns the state of the machine. An unknown machine is Absent, which is not an error.
	State(ctx context.Context, machine uuid.UUID) (State, error)
	// List returns the defined machines that carry our stack id. A failure to list is an error, never an empty list.
	List(ctx context.Context) ([]Observed, error)
	// Usage returns what the running machines of our stack have used since they were started. A machine that cannot be asked
	// at the moment, because another call works on it, is left out.
	Usage(ctx context.Context) ([]Usage, error)
	// Addresses returns the addresses that the guest may have: those in its seed, and those that its cards are limited to.
	// It returns none for an unknown machine.
	Addresses(ctx context.Context, machine uuid.UUID) ([]netip.Addr, error)
	// Traces lists all traces of machines of our stack, also incomplete ones: a directory without a definition, a definition
	// without a disk. A trace that cannot be read is an error.
	Traces(ctx context.Context) ([]Trace, error)
	// Orphans lists the cards that have rules and belong to no defined machine, by the names of their taps.
	Orphans(ctx context.Context) ([]string, error)
	// Networks lists the bridges of our stack, with the addresses and translations that they have at this moment. The addresses
	// that the kernel gives to each link are left out.
	Networks(ctx context.Context) ([]Network, error)
	// Console returns the last maxBytes of the serial console, nothing if there is none.
	Console(ctx context.Context, machine uuid.UUID, maxBytes int) ([]byte, error)

	// OpenConsole connects to a console of a running machine; the connection ends with the machine's run. A display has any
	// number of connections, which share it; a serial line has one. It returns ErrNotRunning if the machine is off or unknown,
	// and ErrNoConsole if it was started without such a console.
	OpenConsole(ctx context.Context, machine uuid.UUID, c Console) (net.Conn, error)

	// Close closes the connection to the hypervisor. Machines keep running; our bridges without ports are removed.
	Close() error
}

// Accel is how guest code is executed.
type Accel string

// The accelerators. AccelSim is that of the simulated driver.
const (
	AccelKVM Accel = "kvm"
	AccelTCG Accel = "tcg"
	AccelSim Accel = "sim"
)

// Facts describe the node.
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
	Features        []string
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

// String returns the name of the state in lower case.
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

// Meta is stored in the definition: the proof that a machine is ours, and the number of the last command that changed it.
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
