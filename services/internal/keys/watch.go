package keys

import (
	"context"
	"log/slog"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/bus"
	"slipway.dev/pkg/identity"
)

// Watch makes v refuse identities as soon as auth tells that they are worth less than they say, until ctx ends. What is told
// while the bus is away is missed: then an identity is good until it ends by itself, at most identity.MaxLife.
func Watch(ctx context.Context, b *bus.Bus, v *identity.Verifier, log *slog.Logger) error {
	return b.Watch(ctx, []string{"auth.v4.session.revoked"}, func(e bus.Event) {
		var r authpb.SessionRevoked
		if err := e.Decode(&r); err != nil {
			log.Warn("a revocation cannot be read", "err", err)
			return
		}
		v.Revoke(r.GetSessionId(), r.GetAccountId(), r.GetRevision())
	}, func() {})
}
