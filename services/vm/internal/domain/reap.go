package domain

// Evidence is what is known of a machine that is no host: what it says of itself, who we are, and whether its host was
// deleted.
type Evidence struct {
	// Installation and Node are ours: whose database this is, and which node the machine was seen on.
	Installation, Node string
	// StackID, NodeID and Fence are the machine's own metadata; "" and 0 when an older agent does not tell.
	StackID, NodeID string
	Fence           int64
	// Buried: a tombstone stands, of a host on BuriedOn, removed by the command with BuriedFence.
	Buried      bool
	BuriedOn    string
	BuriedFence int64
}

// Verdict says what becomes of a machine that is no host.
type Verdict string

// Verdicts. All but Removed leave the machine alone.
const (
	Removed     Verdict = "removed"
	NoProof     Verdict = "no_proof"
	NotBuried   Verdict = "unknown"
	Newer       Verdict = "newer"
	BreakerOpen Verdict = "breaker"
)

// Judge decides by positive proof alone: the machine says that it is of this installation and this node, a tombstone says
// that its host was deleted there, and nothing shaped it after that. That a host is not known proves nothing: the database
// may be an old one.
func Judge(e Evidence) Verdict {
	switch {
	case e.Installation == "" || e.StackID != e.Installation:
		return NoProof
	case e.Node == "" || e.NodeID != e.Node || e.Fence <= 0:
		return NoProof
	case !e.Buried:
		return NotBuried
	case e.BuriedOn != e.Node:
		return NoProof
	case e.Fence > e.BuriedFence:
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

// BreakerLimit is how many leftovers may be removed from a node with so many machines within an hour. More of them at once
// are rather a mistake of ours than leftovers.
func BreakerLimit(machines int) int { return max(breakerLeast, machines*breakerPercent/100) }
