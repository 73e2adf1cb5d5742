package service

import (
	"context"
	"crypto/ed25519"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/bus"
)

// keys returns the keys that verify identities: the service's own, for auth, or those that auth answers with.
func (s *Service) keys(ctx context.Context) (map[string]ed25519.PublicKey, error) {
	if s.parts.Keys != nil {
		return s.parts.Keys(ctx)
	}
	resp, err := authpb.NewTokenServiceClient(s.kit.Peers["auth"]).ListKeys(ctx, &authpb.ListKeysRequest{})
	if err != nil {
		return nil, err
	}
	keys := make(map[string]ed25519.PublicKey, len(resp.GetKeys()))
	for _, k := range resp.GetKeys() {
		keys[k.GetId()] = k.GetKey()
	}
	return keys, nil
}

// revocations applies auth's revocations to the verifier until ctx ends. One that is published while the bus is away is
// missed: then an identity is good until it expires, after at most identity.MaxLife.
func (s *Service) revocations(ctx context.Context) error {
	return s.kit.Bus.Watch(ctx, []string{"auth.v4.session.revoked"}, func(e bus.Event) {
		var r authpb.SessionRevoked
		if err := e.Decode(&r); err != nil {
			s.kit.Log.Warn("a revocation cannot be read", "err", err)
			return
		}
		s.verifier.Revoke(r.GetSessionId(), r.GetAccountId(), r.GetRevision())
	}, func() {})
}
