package hyper

import (
	"net"
	"net/netip"
	"slices"

	"github.com/google/uuid"
)

// Network is a bridge of the host.
type Network struct {
	// Name of the bridge device: at most 15 of [a-z0-9-_.]. See BridgeName.
	Name string
	// Addresses are the host's own on the bridge: the gateways of the guests.
	Addresses []netip.Prefix
	// NAT lists the guests' prefixes that are translated to the host's address on their way out.
	NAT []netip.Prefix
	// MTU of the bridge, 0 leaves the kernel's.
	MTU int
	// Guests are the addresses of the machine that is to be plugged in. The node must not have them.
	Guests []netip.Addr `json:"-"`
}

// Equal reports whether two requests are the same.
func (n Network) Equal(m Network) bool {
	return n.Name == m.Name && n.MTU == m.MTU && slices.Equal(n.Addresses, m.Addresses) && slices.Equal(n.NAT, m.NAT)
}

// Disk is a qcow2 image of a machine.
type Disk struct {
	// Name is unique in the machine: [a-z0-9-], at most 32. It is the file's name too.
	Name string
	// SizeMiB is the size that the guest sees.
	SizeMiB int64
	// Template is the SHA-256 (hex) of an installed template that the disk starts from; empty for an empty disk.
	Template string
	// Bus by which the guest reaches the disk, VirtIO if it is empty. It belongs to the definition of the machine alone.
	Bus string
}

// Buses of disks. SATA is for guests without a driver for virtio; such a disk comes and goes with a start of the machine.
const (
	VirtIO = "virtio"
	SATA   = "sata"
)

// NIC is a network card of a machine.
type NIC struct {
	MAC     net.HardwareAddr
	Network string // the bridge
	// Addresses of the guest, the only ones that it may use when AntiSpoofing is on.
	Addresses    []netip.Addr
	AntiSpoofing bool
	// NodeSide is what the guest needs of the bridge; nil where the definition does not say.
	NodeSide *NodeSide
	// InMbit and OutMbit limit what the guest receives and sends, in Mbit/s; 0 is no limit.
	InMbit, OutMbit int
	Firewall        []Rule
}

// NodeSide is what a guest needs of the node's side of its network.
type NodeSide struct {
	Addresses []netip.Prefix // its gateways
	NAT       []netip.Prefix
}

// Machine is the definition of a machine.
type Machine struct {
	UUID uuid.UUID
	// Name is shown to people (the definition's title). It is only data: no file and no device has this name.
	Name      string
	CPUs      int
	MemoryMiB int64
	Disks     []Disk // in boot order
	CD        string // the image in the drive, from which the machine starts; "" for none
	NICs      []NIC
	Seed      bool // a seed was ensured and is plugged in
	Growth    bool // CPUs and memory can be added while it runs
	CPU       CPU
	Throttle  Throttle
	Meta      Meta
}

// Seed is the configuration that a guest gets through cloud-init.
type Seed struct {
	InstanceID   string // a new one makes cloud-init run again
	Hostname     string
	FQDN         string
	PasswordHash string // of root, crypt(3) format; empty locks password login
	// PasswordSerial is not 0 for a password that a guest which was installed before takes at its next start, once for each
	// number.
	PasswordSerial int32
	SSHKeys        []string // of root, one authorized_keys line each
	Links          []Link
	DNS            []netip.Addr
	Search         []string
	// UserData is the customer's document, applied beside ours: a shell script or a #cloud-config document.
	UserData string
}

// Link is one card in the guest's network configuration.
type Link struct {
	MAC       net.HardwareAddr
	Addresses []netip.Prefix
	Gateways  []netip.Addr // at most one of each family; may lie outside every prefix
	MTU       int
}
