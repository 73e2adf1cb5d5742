package vm

import "slipway.dev/services/vm/internal/leftover"

// Naive makes s decide about strangers as a careless reconciler would: what is not known is removed. The planted bug.
func (s *Service) Naive() {
	s.work.Reaper.Classify = func(leftover.Evidence) leftover.Verdict { return leftover.Removed }
}
