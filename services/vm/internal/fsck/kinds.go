package fsck

// Kinds of findings.
const (
	machineMissing = "machine_missing" // a host has no machine on its node
	machineOrphan  = "machine_orphan"  // a machine, or a part of one, belongs to no host
	machineTwice   = "machine_twice"   // a machine is on more than one node, or on another than its host's
	diskMissing    = "disk_missing"    // a host's disk or seed is not on its node
	diskOrphan     = "disk_orphan"     // a disk is there that the host does not have
	filePartial    = "file_partial"    // a command that did not end left a file
	rulesOrphan    = "rules_orphan"    // a node has rules for the card of a machine that is not there
	networkOrphan  = "network_orphan"  // a node has an address or a translation for a network in which none of its hosts has an address
	templateBad    = "template_bad"    // a node leaves a template out, because it is damaged or not acceptable
	addressMissing = "address_missing" // a host uses an address that it does not hold
	addressOrphan  = "address_orphan"  // an address is held by no host, or by one that does not use it
	addressAccount = "address_account" // an address is booked for another account than its host's
	counterWrong   = "counter_wrong"   // a counter differs from what it counts
	changeStuck    = "change_stuck"    // a change of a host's size that no task will carry out, or room that is kept for none
	hostStuck      = "host_stuck"      // a host is between two states and no job is under way
	hostOwnerless  = "host_ownerless"  // a host belongs to an account that does not exist
	diskOwnerless  = "disk_ownerless"  // a disk without a host belongs to an account that does not exist
)

// Kinds lists what the check of an installation may find besides the kinds of pkg/fsck; address_overdue is ip's.
var Kinds = []string{
	machineMissing, machineOrphan, machineTwice, diskMissing, diskOrphan, filePartial, rulesOrphan, networkOrphan, templateBad,
	addressMissing, addressOrphan, addressAccount, "address_overdue", counterWrong, changeStuck, hostStuck, hostOwnerless, diskOwnerless,
}

// Sorts of objects in the counts of a report.
const (
	Hosts     = "hosts"
	Machines  = "machines"
	Addresses = "addresses"
	Nodes     = "nodes"
)
