package network

// stats counts addresses by state. Usable counts the addresses that hosts may have.
type stats struct {
	Total, Usable                   int64
	Assigned, Reserved, Quarantined int64
}

// free returns how many usable addresses are neither taken nor in quarantine.
func (s stats) free() int64 { return max(0, s.Usable-s.Assigned-s.Reserved-s.Quarantined) }

// utilization returns the part of the usable addresses that is taken, in percent.
func (s stats) utilization() float64 {
	if s.Usable == 0 {
		return 0
	}
	return 100 * float64(s.Assigned+s.Reserved) / float64(s.Usable)
}
