package fsck

// Kinds of findings.
const (
	MachineMissing = "machine_missing" // a host has no machine on its node
	MachineOrphan  = "machine_orphan"  // a machine, or a part of one, belongs to no host
	MachineTwice   = "machine_twice"   // a machine is on more than one node, or on another than its host's
	DiskMissing    = "disk_missing"    // a host's disk or seed is not on its node
	DiskOrphan     = "disk_orphan"     // a disk is there that the host does not have
	FilePartial    = "file_partial"    // a command that did not end left a file
	AddressMissing = "address_missing" // a host uses an address that it does not hold
	AddressOrphan  = "address_orphan"  // an address is held by no host, or by one that does not use it
	CounterWrong   = "counter_wrong"   // a counter differs from what it counts
	HostStuck      = "host_stuck"      // a host is between two states and no job is under way
)

// Kinds lists what the check of an installation may find besides the kinds of pkg/fsck; address_overdue is ip's.
var Kinds = []string{
	MachineMissing, MachineOrphan, MachineTwice, DiskMissing, DiskOrphan, FilePartial, AddressMissing, AddressOrphan,
	"address_overdue", CounterWrong, HostStuck,
}

// Sorts of objects in the counts of a report.
const (
	Hosts     = "hosts"
	Machines  = "machines"
	Addresses = "addresses"
	Nodes     = "nodes"
)
