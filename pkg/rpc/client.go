package rpc

import (
	"context"
	"crypto/tls"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/resolver/dns"

	"slipway.dev/pkg/trace"
)

const (
	// keepaliveTime and keepaliveTimeout detect a replica that died without closing the connection. gRPC takes no shorter time.
	keepaliveTime    = 10 * time.Second
	keepaliveTimeout = 3 * time.Second
	// resolveEvery is the least time between two look-ups of a name: a restarted replica may have another address.
	resolveEvery = time.Second
)

// setResolver sets resolveEvery once for the process, because gRPC has only a global setting.
var setResolver = sync.OnceFunc(func() { dns.SetMinResolutionInterval(resolveEvery) })

// Dial connects to the service at target ("host:port") over mTLS. service is the name that its certificate must carry.
// The connection is made when it is first needed, and again when it breaks. Calls go to all addresses that host has, in
// turn. A call that was not sent before its replica went away goes to another replica; a call that was sent gets Unavailable,
// because its outcome is unknown.
func Dial(target, service string, tlsConfig *tls.Config) (*grpc.ClientConn, error) {
	setResolver()
	c := tlsConfig.Clone()
	c.ServerName = service
	return grpc.NewClient(target, append(trace.DialOptions(),
		grpc.WithTransportCredentials(credentials.NewTLS(c)),
		grpc.WithUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			return invoke(forward(ctx), method, req, reply, cc, opts...)
		}),
		grpc.WithStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			return open(forward(ctx), desc, cc, method, opts...)
		}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 200 * time.Millisecond, Multiplier: 1.6, Jitter: 0.5, MaxDelay: 3 * time.Second},
			MinConnectTimeout: 3 * time.Second,
		}),
		// Skip service-config TXT lookups: we publish none, and an unreachable resolver costs 10 s per lookup.
		grpc.WithDisableServiceConfig(),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"round_robin":{}}]}`),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: keepaliveTime, Timeout: keepaliveTimeout}),
	)...)
}

// intercepted is a local connection with the interceptors of Dial.
type intercepted struct {
	next func() grpc.ClientConnInterface
}

func (i intercepted) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	return i.next().Invoke(forward(ctx), method, args, reply, opts...)
}

func (i intercepted) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	return i.next().NewStream(forward(ctx), desc, method, opts...)
}

// WithRequest returns a context whose calls carry this request id.
func WithRequest(ctx context.Context, id string) context.Context {
	if id == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, RequestIDKey, id)
}

// forward passes the id of the request under way on to the next service. The identity of the user is passed on by OnBehalf
// alone: over other connections a service calls in its own name.
func forward(ctx context.Context) context.Context {
	if id := RequestID(ctx); id != "" {
		if out, ok := metadata.FromOutgoingContext(ctx); !ok || len(out.Get(RequestIDKey)) == 0 {
			return metadata.AppendToOutgoingContext(ctx, RequestIDKey, id)
		}
	}
	return ctx
}
