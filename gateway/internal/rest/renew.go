package rest

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"

	"slipway.dev/gateway/internal/edge"
)

// renewing repeats a call once if a service refused it because the caller's identity is too old. A service may learn
// of a change of rights before the gateway does, while the session is still valid. The refusal comes before the
// handler runs, or from a unit of work that is rolled back, so nothing is done twice.
type renewing struct{ grpc.ClientConnInterface }

// Invoke implements grpc.ClientConnInterface.
func (c renewing) Invoke(ctx context.Context, method string, in, out any, opts ...grpc.CallOption) error {
	err := c.ClientConnInterface.Invoke(ctx, method, in, out, opts...)
	if err == nil {
		return nil
	}
	q := edge.Of(ctx)
	if q.Renew == nil || !refusesIdentity(err) {
		return err
	}
	md, _ := metadata.FromOutgoingContext(ctx)
	if len(md.Get(identity.MetadataKey)) != 1 {
		return err
	}
	stale := md.Get(identity.MetadataKey)[0]
	fresh, failed := q.Renew(ctx, stale)
	if failed != nil || fresh == stale {
		return err
	}
	md = md.Copy()
	md.Set(identity.MetadataKey, fresh)
	return c.ClientConnInterface.Invoke(metadata.NewOutgoingContext(ctx, md), method, in, out, opts...)
}

// refusesIdentity reports whether err is identity.ErrInvalid, received over the wire.
func refusesIdentity(err error) bool {
	f, ok := fault.From(err)
	return ok && f.Is(identity.ErrInvalid) && f.Msg == identity.ErrInvalid.Msg
}
