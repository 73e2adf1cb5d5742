package rest

import (
	"context"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"

	"slipway.dev/gateway/internal/edge"
)

// renewing makes the calls of a request with the caller's identity for the called service. It repeats a call once if the service
// refused it because the identity is too old. A service may learn of a change of rights before the gateway does, while the
// session is still valid. The refusal comes before the handler runs, or from a unit of work that is rolled back, so nothing is
// done twice.
type renewing struct{ grpc.ClientConnInterface }

// Invoke implements grpc.ClientConnInterface.
func (c renewing) Invoke(ctx context.Context, method string, in, out any, opts ...grpc.CallOption) error {
	q := edge.Of(ctx)
	service := serviceOf(method)
	mine := q.Session.Identity(service)
	err := c.ClientConnInterface.Invoke(identified(ctx, mine), method, in, out, opts...)
	if err == nil || q.Renew == nil || !refusesIdentity(err) {
		return err
	}
	fresh, failed := q.Renew(ctx, mine)
	if failed != nil || fresh.Identity(service) == mine {
		return err
	}
	return c.ClientConnInterface.Invoke(identified(ctx, fresh.Identity(service)), method, in, out, opts...)
}

// NewStream implements grpc.ClientConnInterface.
func (c renewing) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	mine := edge.Of(ctx).Session.Identity(serviceOf(method))
	return c.ClientConnInterface.NewStream(identified(ctx, mine), desc, method, opts...)
}

// serviceOf returns the service that answers a method: "vm" for "/vm.v3.HostService/GetHost".
func serviceOf(method string) string {
	service, _, _ := strings.Cut(strings.TrimPrefix(method, "/"), ".")
	return service
}

// identified returns a context for a call with a signed identity; "" is none.
func identified(ctx context.Context, text string) context.Context {
	if text == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, identity.MetadataKey, text)
}

// refusesIdentity reports whether err is identity.ErrInvalid, received over the wire.
func refusesIdentity(err error) bool {
	f, ok := fault.From(err)
	return ok && f.Is(identity.ErrInvalid) && f.Msg == identity.ErrInvalid.Msg
}
