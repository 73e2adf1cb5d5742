package gateway

import (
	"context"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/bus"
)

// Watch applies auth's revocations to the cache of sessions until ctx ends. It empties the cache whenever events may
// have been missed.
func (g *Gateway) Watch(ctx context.Context, b *bus.Bus) error {
	return b.Watch(ctx, []string{"auth.v4.session.revoked"}, func(e bus.Event) {
		var r authpb.SessionRevoked
		if err := e.Decode(&r); err != nil {
			g.log.Warn("a revocation cannot be read", "err", err)
			g.ForgetAll()
			return
		}
		g.Revoke(r.GetSessionId(), r.GetAccountId())
	}, g.ForgetAll)
}
