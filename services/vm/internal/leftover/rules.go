// Package leftover finds machines that no host is, and removes those that are proven to be left over from deleted
// hosts.
package leftover

// Evidence is what is known of a machine that no host is: what the machine says of itself, who we are, and whether its
// host was deleted.
type Evidence struct {
	// Installation and Node are ours: whose database this is, and which node the machine was seen on.
	Installation, Node string
	// StackID, NodeID and Fence are the machine's own metadata; "" and 0 from an older agent.
	StackID, NodeID string
	Fence           int64
	// Tombstone reports whether the host was deleted, on TombstoneNode, by the command with TombstoneFence.
	Tombstone      bool
	TombstoneNode  string
	TombstoneFence int64
}

// Verdict is how a machine that no host is was classified.
type Verdict string

// Verdicts. All but Removed leave the machine alone.
const (
	Removed     Verdict = "removed"
	NoProof     Verdict = "no_proof"
	NoTombstone Verdict = "unknown"
	Newer       Verdict = "newer"
	BreakerOpen Verdict = "breaker"
)

// Classify decides by positive proof alone: the machine says that it is of this installation and this node, a tombstone
// says that its host was deleted there, and nothing shaped the machine after that. The lack of a host proves nothing:
// the database may be an old one.
func Classify(e Evidence) Verdict {
	switch {
	case e.Installation == "" || e.StackID != e.Installation:
		return NoProof
	case e.Node == "" || e.NodeID != e.Node || e.Fence <= 0:
		return NoProof
	case !e.Tombstone:
		return NoTombstone
	case e.TombstoneNode != e.Node:
		return NoProof
	case e.Fence > e.TombstoneFence:
		return Newer
	default:
		return Removed
	}
}

// The breaker's bounds for one node and hour.
const (
	breakerLeast   = 3
	breakerPercent = 5
)

// BreakerLimit is how many leftovers may be removed from a node with so many machines within an hour. More removals
// at once are rather a mistake of ours.
func BreakerLimit(machines int) int { return max(breakerLeast, machines*breakerPercent/100) }
