package vm

import "slipway.dev/services/vm/internal/domain"

// Naive makes s decide about strangers as a careless reconciler would: what is not known goes. The planted bug.
func (s *Service) Naive() {
	s.work.Judge = func(domain.Evidence) domain.Verdict { return domain.Removed }
}
