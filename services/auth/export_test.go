package auth

import (
	"context"
	"time"

	"slipway.dev/pkg/identity"
)

// Hashes is how many passwords were hashed so far.
func (s *Service) Hashes() int64 { return s.handlers.Hashes() }

// SignForTest signs what no token of the service says.
func (s *Service) SignForTest(i identity.Identity) (string, error) {
	signer, err := s.signer(context.Background())
	if err != nil {
		return "", err
	}
	i.Issued = time.Now()
	i.Expires = i.Issued.Add(time.Minute)
	return signer.Sign(i)
}
