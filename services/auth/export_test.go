package auth

// Hashes is how many passwords were hashed so far.
func (s *Service) Hashes() int64 { return s.handlers.Hashes() }
