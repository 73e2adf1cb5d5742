package domain

// Stats counts addresses by state. Usable are those that hosts may have.
type Stats struct {
	Total, Usable                   int64
	Assigned, Reserved, Quarantined int64
}

// Free is what is left.
func (s Stats) Free() int64 { return max(0, s.Usable-s.Assigned-s.Reserved-s.Quarantined) }

// Utilization is the part of the usable that is taken, in percent.
func (s Stats) Utilization() float64 {
	if s.Usable == 0 {
		return 0
	}
	return 100 * float64(s.Assigned+s.Reserved) / float64(s.Usable)
}
