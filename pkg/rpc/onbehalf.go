package rpc

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"slipway.dev/pkg/access"
	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/identity"
)

// OnBehalf returns a connection whose calls carry the user of the request under way: the signed identity, which the called
// service verifies, and the address of the client. The called service records what it changes with that actor, so the record
// of the request is left to it. Never use it for agents of nodes: an agent could use the identity elsewhere.
func OnBehalf(conn grpc.ClientConnInterface) grpc.ClientConnInterface { return onBehalf{conn} }

type onBehalf struct{ next grpc.ClientConnInterface }

func (o onBehalf) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	ctx, known := withUser(ctx)
	if m, ok := access.ByName(method); known && ok && m.Recorded() {
		audit.Of(ctx).Leave()
	}
	return o.next.Invoke(ctx, method, args, reply, opts...)
}

func (o onBehalf) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	ctx, _ = withUser(ctx)
	return o.next.NewStream(ctx, desc, method, opts...)
}

// withUser adds the user of the request under way to the metadata of calls, and reports whether there is a user.
func withUser(ctx context.Context) (context.Context, bool) {
	text := first(ctx, identity.MetadataKey)
	if _, verified := identity.From(ctx); !verified || text == "" {
		return ctx, false
	}
	ctx = metadata.AppendToOutgoingContext(ctx, identity.MetadataKey, text)
	if ip := ClientIP(ctx); ip != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, ClientIPKey, ip)
	}
	return ctx, true
}
