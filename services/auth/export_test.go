package auth

import (
	"time"

	"slipway.dev/pkg/identity"
)

// Hashes returns how many passwords were hashed so far.
func (s *Service) Hashes() int64 { return s.server.Hashes() }

// SignForTest signs an identity that no token of the service has.
func (s *Service) SignForTest(i identity.Identity) (string, error) {
	i.Issued = time.Now()
	i.Expires = i.Issued.Add(time.Minute)
	return s.ring.Sign(i)
}

// NewAt is New with a clock.
var NewAt = newAt
